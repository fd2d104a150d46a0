"""The events of members: one for each change or, where there are many changes, one diff a second.

The first changes in a second on a channel are events of their own. With more than `MAX_PER_SECOND` the further ones are
collected, and so are all those of the next second, until there is a second with fewer.
"""

from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from math import inf
from typing import Final

from pushd.core.presence import Changed, MemberInfo, PresenceEvent

MAX_PER_SECOND: Final = 20
"""Changes in a second on a channel that are events of their own."""
_MAX_IN_DIFF: Final = 200
"""The most members in a diff; with more of them there are several, of at most 300 KiB each."""
_SECOND: Final = 1.0
_ENDING_STEP: Final = 1000
"""Seconds of channels that are ended in one step, if there is nothing to send: about half a millisecond."""

Find = Callable[[str, str], MemberInfo | None]
"""Returns a member of a channel; None if it is not there."""


class _Waiting:
    """The changes of a member that wait for the diff."""

    __slots__ = ("last", "was_in")

    def __init__(self, was_in: bool, last: Changed) -> None:
        self.was_in = was_in
        """Whether the events so far say that it is there."""
        self.last = last


class _Second:
    """The changes on a channel in one second."""

    __slots__ = ("end", "number", "waiting")

    def __init__(self, end: float, waiting: dict[str, _Waiting] | None) -> None:
        self.end = end
        self.number = 0
        self.waiting = waiting
        """The collected changes by member; None while each change is an event."""


class EventRecorder:
    """The events of all channels. `now` is monotonic seconds."""

    def __init__(self) -> None:
        self._events: list[PresenceEvent] = []
        self._seconds: OrderedDict[str, _Second] = OrderedDict()
        """The current second of each channel with a recent change; the first one ends first."""

    @property
    def due(self) -> float:
        """When `advance` has something to do, in monotonic seconds; infinite if that is never."""
        return next(iter(self._seconds.values())).end if self._seconds else inf

    def take(self) -> list[PresenceEvent]:
        """Return the events since the last call, in their order."""
        events, self._events = self._events, []
        return events

    def record(self, channel: str, changed: Changed, now: float) -> None:
        """Record a change of a member."""
        second = self._second(channel, now)
        second.number += 1
        if second.waiting is None:
            if second.number <= MAX_PER_SECOND:
                self._events.append(PresenceEvent(channel, (changed,)))
                return
            second.waiting = {}
        _collect(second.waiting, changed)

    def put_back(self, event: PresenceEvent, now: float) -> None:
        """Collect the changes of an event that could not be published, as if they had come before those that wait."""
        second = self._second(event.channel, now)
        later = second.waiting or {}
        second.waiting = {}
        for changed in event.changes:
            _collect(second.waiting, changed)
        for id, waiting in later.items():
            if id in second.waiting:
                second.waiting[id].last = waiting.last
            else:
                second.waiting[id] = waiting

    def is_waiting(self, channel: str, id: str) -> bool:
        """Return whether a change of a member waits for a diff."""
        second = self._seconds.get(channel)
        return second is not None and second.waiting is not None and id in second.waiting

    def advance(self, now: float, find: Find) -> None:
        """End seconds, and make a diff that is due: at most one message, since that of many members takes a while."""
        for _ in range(_ENDING_STEP):
            if not self._seconds or next(iter(self._seconds.values())).end > now:
                return
            channel, second = next(iter(self._seconds.items()))
            if second.waiting:
                self._diff(channel, second.waiting, find)
                if second.waiting:
                    return
            del self._seconds[channel]
            if second.number > MAX_PER_SECOND:
                self._seconds[channel] = _Second(now + _SECOND, {})

    def flush(self, find: Find) -> None:
        """Make the diffs of all changes that wait."""
        for channel, second in self._seconds.items():
            while second.waiting:
                self._diff(channel, second.waiting, find)

    def _second(self, channel: str, now: float) -> _Second:
        second = self._seconds.get(channel)
        if second is None:
            second = self._seconds[channel] = _Second(now + _SECOND, None)
        return second

    def _diff(self, channel: str, waiting: dict[str, _Waiting], find: Find) -> None:
        """Make a diff of what the first members are now, and remove them. One that was there for a moment only is
        reported as having left, because a list that was read meanwhile may have it.
        """
        changes: list[Changed] = []
        for id in list(islice(waiting, _MAX_IN_DIFF)):
            each = waiting.pop(id)
            member = find(channel, id)
            if member is None:
                left = each.last.member._replace(connections=0)
                changes.append(Changed("leave", left, each.last.reason or "client"))
            else:
                changes.append(Changed("update" if each.was_in else "enter", member, None))
        self._events.append(PresenceEvent(channel, tuple(changes), is_diff=True))


def _collect(waiting: dict[str, _Waiting], changed: Changed) -> None:
    id = changed.member.id
    known = waiting.get(id)
    if known is None:
        waiting[id] = _Waiting(changed.action != "enter", changed)
    else:
        known.last = changed
