"""The members of a backend that serves one node, and the timer by which they leave."""

from collections import Counter
from collections.abc import Callable, Sequence
from math import inf

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pushd.backends.presence import MemberList, PresenceUsage
from pushd.core.cursor import MessageId
from pushd.core.errors import Refusal
from pushd.core.history import Bounds
from pushd.core.message import Draft
from pushd.core.presence import Change, EndLease, MemberInfo, PresenceEvent, Renew, Row, Seen
from pushd.core.presence_state import PresenceState
from pushd.wire.presence import event_draft

GRACE = 15.0
MAX_MEMBERS = 100_000


class LocalPresence:
    """The `PresenceBackend` of one node. A subclass publishes the events.

    :param clock: schedules the timer.
    :param now: returns the seconds by which members leave.
    :param wall: returns unix seconds.
    :param position: returns the position of the newest message that was delivered.
    """

    def __init__(
        self,
        bounds: Bounds,
        clock: IReactorTime,
        now: Callable[[], float],
        wall: Callable[[], float],
        position: Callable[[], MessageId],
    ) -> None:
        age = bounds.of_events.age
        self._ttl = age if age < bounds.age else None
        self._clock = clock
        self._now = now
        self._wall = wall
        self._position = position
        self.state = PresenceState(GRACE, MAX_MEMBERS)
        self._events: Counter[str] = Counter()
        self._timer: IDelayedCall | None = None
        self._timer_at = inf

    def reconfigure(self, grace: float, limit: int) -> None:
        """See `pushd.backends.presence.PresenceBackend`, here and below."""
        self.state.grace, self.state.limit = grace, limit

    async def apply(self, changes: Sequence[Change]) -> None:
        now, time = self._now(), self._wall()
        refusal: Refusal | None = None
        for change in changes:
            try:
                self.state.apply(change, now, time)
            except Refusal as refused:
                refusal = refused
                break
        self.schedule()
        try:
            await self.publish(self.state.take_events())
        except Refusal:
            if any(isinstance(change, Renew | EndLease) for change in changes):
                raise
        if refusal is not None:
            raise refusal

    async def members(self, channel: str, after: str, limit: int) -> MemberList:
        return MemberList(self.state.page(channel, after, limit), self._position())

    async def count(self, channel: str) -> int:
        return self.state.count(channel)

    async def find(self, channel: str, id: str) -> MemberInfo | None:
        return self.state.info(channel, id)

    async def seen(self, channel: str, id: str) -> Seen | None:
        return self.state.seen(channel, id, self._wall())

    @property
    def usage(self) -> PresenceUsage:
        return PresenceUsage(len(self.state), self.state.channels, self.state.remembered, self._events)

    def restore(self, rows: Sequence[Row]) -> None:
        """Add the members of the previous run, in grace."""
        self.state.restore(rows, self._now())
        self.schedule()

    def stop(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def publish(self, events: Sequence[PresenceEvent]) -> None:
        """Publish events, and store what has changed with them.

        :raises Refusal: when that is impossible.
        """
        raise NotImplementedError

    def put_back(self, events: Sequence[PresenceEvent]) -> None:
        """Publish events that could not be published now as a part of the next diffs."""
        if events:
            self.state.put_back(events, self._now())
            self.schedule()

    def draft(self, event: PresenceEvent) -> Draft:
        """Return the message of an event."""
        self._events["diff" if event.is_diff else event.changes[0].action] += 1
        return event_draft(event, self._ttl)

    def schedule(self) -> None:
        """Set the timer to when the next member leaves, or the next diff is due."""
        due = self.state.due
        if self._timer is not None:
            if self._timer_at <= due:
                return
            self._timer.cancel()
            self._timer = None
        if due != inf:
            self._timer_at = due
            self._timer = self._clock.callLater(max(0.0, due - self._now()), self._on_due)

    def _on_due(self) -> None:
        self._timer = None
        self.state.advance(self._now(), self._wall())
        self.publish_later(self.state.take_events())
        self.schedule()

    def publish_later(self, events: Sequence[PresenceEvent]) -> None:
        """Publish events for which nobody waits."""
        raise NotImplementedError
