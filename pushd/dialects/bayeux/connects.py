"""Held connects: each is a poll from the cursor of its session, answered when there is something to send."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.core.cursor import MessageId, parse_id
from pushd.core.delivery import Batch
from pushd.core.errors import InternalError, Refusal
from pushd.core.names import matches
from pushd.core.outbox import QueueLimits
from pushd.core.peer import Peer
from pushd.core.poll import Poll, PollResult
from pushd.dialects.bayeux.session import Session, Sessions
from pushd.dialects.bayeux.wire import WIRE
from pushd.hub.hub import Hub
from pushd.metrics import Counters
from pushd.net.coarse_timers import CoarseTimers
from pushd.net.eager_task import run_eagerly
from pushd.transports.live_connections import LiveConnections

ANSWER: Final = QueueLimits(1000, 1 << 20)
"""The limits of the messages of one answer; the rest is sent with the next."""

_READ_SECONDS: Final = 5.0
"""How long a connect that is not to wait waits for the history."""


class Outcome(NamedTuple):
    """How a connect is answered."""

    messages: Sequence[bytes] = ()
    """Encoded messages for the client."""
    refusal: Refusal | None = None
    """Why it fails; None if it succeeds."""


class _SessionPoll(Poll):
    """A poll whose lazy messages wait for others."""

    __slots__ = ("_held",)

    def __init__(self, held: "HeldConnect", limits: QueueLimits, peer: Peer) -> None:
        super().__init__(held, WIRE, limits, peer)
        self._held = held

    def deliver(self, batch: Batch) -> int:
        """Take a live batch, and finish unless all messages so far are lazy."""
        if self.is_closed or not self._held.has_lazy:
            return super().deliver(batch)
        selected = self.select(batch)
        if selected and all(self._held.is_lazy(delivery.message.channel) for delivery in selected):
            self._deliveries = [*self._deliveries, *selected]
            self._take_pending()
            if self._fits() < len(self._deliveries):
                self.finish()
            else:
                self._held.hasten()
        elif selected:
            self._deliveries = [*self._deliveries, *selected]
            self._take_pending()
            self.finish()
        return 0

    def close(self, why: Refusal | None = None) -> None:
        """See `Subscriber`; the references are dropped, so that the collector has nothing to do."""
        super().close(why)
        del self._held


class HeldConnect:
    """A connect that waits for messages. It has no timer and no coroutine of its own.

    :param answer: called once, with the outcome; not if the client has disconnected.
    """

    __slots__ = (
        "_answer",
        "_connects",
        "_is_hurried",
        "_is_polling",
        "due",
        "is_done",
        "session",
        "subscriber",
        "transport_name",
    )

    def __init__(
        self, connects: "Connects", session: Session, transport_name: str, answer: Callable[[Outcome], None]
    ) -> None:
        self.session = session
        self.transport_name = transport_name
        self.due = 0
        self.subscriber: Poll
        """The poll, while there is one."""
        self._connects = connects
        self._answer = answer
        self._is_polling = self._is_hurried = False
        self.is_done = False
        """Whether it was answered, or its client has disconnected."""

    # From the session

    def begin(self, seconds: float) -> None:
        """Wait for at most `seconds`; with 0, only until the history is read."""
        self._connects.sessions.hold(self.session, self)
        self._is_hurried = seconds == 0
        self._connects.timers.start(self, seconds or _READ_SECONDS)
        if self.session.responses or (self._is_hurried and not self.session.progress.topics):
            self.release()
        else:
            self.restart()

    def restart(self) -> None:
        """Read from the cursor of the session, with the topics that it has now."""
        self._stop_polling()
        if self.session.progress.topics and not self.is_done:
            run_eagerly(self._poll(), self._on_error)

    def release(self) -> None:
        """Answer with what there is."""
        if self._is_polling and self.subscriber.position:
            self.subscriber.finish()
        self._finish(Outcome())

    def refuse(self, why: Refusal) -> None:
        """Answer with a refusal."""
        self._stop_polling(why)
        self._finish(Outcome(refusal=why))

    def forget(self, why: Refusal | None = None) -> None:
        """Called when the client has disconnected: there is nothing to answer."""
        self._stop_polling(why)
        self._end()

    def leave(self) -> None:
        """Answer, since the client leaves: its memberships end at once."""
        if self._is_polling:
            self._connects.hub.presence.leave_all(self.subscriber)
        self._finish(Outcome())

    def expire(self) -> None:
        """Called when the time is over."""
        self.release()

    @property
    def has_lazy(self) -> bool:
        """Whether there are lazy channels."""
        return bool(self._connects.sessions.settings.lazy)

    def is_lazy(self, channel: str) -> bool:
        """Return whether messages of a channel wait for others."""
        return any(matches(topic, channel) for topic in self._connects.sessions.settings.lazy)

    def hasten(self) -> None:
        """Answer after the time of lazy messages, or earlier."""
        self._connects.hasten(self)

    # From the poll

    def deliver_result(self, result: PollResult) -> None:
        """Answer with the result of the poll, unless nothing of it is for the client."""
        self._connects.live.remove(self)
        self._is_polling = False
        progress, position = self.session.progress, parse_id(result.position)
        frames = [WIRE.gap(gap) for gap in result.gaps if progress.accepts_gap(gap)]
        frames += [each.frame(WIRE) for each in result.deliveries if progress.accepts(each.message)]
        frames = [frame for frame in frames if frame]
        if position is not None and self._connects.sessions.find(self.session.id) is self.session:
            progress.advance(position, is_confirmed=not frames or not self.session.has_ack)
        if frames:
            self._finish(Outcome(frames))
        elif result.deliveries or result.gaps:
            self.restart()

    def write(self, data: bytes) -> None:
        """Send nothing: a poll sends only its answer."""

    def topics_ended(self) -> None:
        """Do nothing: the channels may begin anew."""

    def close(self, why: Refusal) -> None:
        """Refuse the connect: it was kicked, has lost its rights, or the daemon stops."""
        is_open = bool(self.subscriber.position)
        self._stop_polling(why)
        if is_open:  # else its coroutine does it
            self._finish(Outcome(refusal=why))

    def abort(self) -> None:
        """Called when `close` has failed."""
        self._end()

    # Its parts

    async def _poll(self) -> None:
        connects, session = self._connects, self.session
        before, topics = session.peer, tuple(session.progress.topics)
        peer = Peer(self.transport_name, before.address, before.grant, before.identity, before.network)
        peer.forwarded = before.forwarded
        poll = self.subscriber = _SessionPoll(self, connects.limits, peer)
        since = session.progress.confirmed or MessageId("", 0)
        try:
            connects.live.add(self)
            self._is_polling = True
            opening = await connects.live.subscribe(self, topics, since, session.member_in(topics))
            if opening is None or self.subscriber is not poll or self.is_done:
                return
            poll.position = str(opening.cursor)
            await connects.hub.replay_and_go_live(poll, opening)
            if self._is_hurried and self.subscriber is poll:
                self.release()
        except Refusal as refusal:
            if self.subscriber is poll and not self.is_done:
                self._is_polling = False
                self._finish(Outcome(refusal=refusal))

    def _stop_polling(self, why: Refusal | None = None) -> None:
        if self._is_polling:
            self._is_polling = False
            self._connects.live.discard(self, why)

    def _finish(self, outcome: Outcome) -> None:
        if not self.is_done:
            self._end()
            messages = [*self.session.take_responses(), *outcome.messages] if outcome.refusal is None else ()
            self._answer(Outcome(messages, outcome.refusal))

    def _end(self) -> None:
        self.is_done = True
        self._stop_polling()
        self._connects.timers.cancel(self)
        self._connects.sessions.release(self.session, self)

    def _on_error(self, failure: Failure) -> None:
        self._connects.log.failure("A Bayeux connect failed with an internal error", failure)
        self.refuse(InternalError("internal error; the log of the daemon has the details"))


class Connects:
    """All held connects."""

    log = Logger()

    def __init__(self, hub: Hub, clock: IReactorTime, counters: Counters, sessions: Sessions) -> None:
        self.hub = hub
        self.sessions = sessions
        self._counters = counters
        self.timers = CoarseTimers(clock)
        self.limits = replace(ANSWER, budget=hub.budget)
        self.live: LiveConnections[HeldConnect] = LiveConnections(hub, counters)

    def hold(
        self, session: Session, transport_name: str, seconds: float, answer: Callable[[Outcome], None]
    ) -> HeldConnect:
        """Hold a connect of a session; see `HeldConnect`."""
        held = HeldConnect(self, session, transport_name, answer)
        held.begin(seconds)
        return held

    def hasten(self, held: HeldConnect) -> None:
        """Answer a connect when the time of lazy messages is over, unless it is answered earlier."""
        seconds = self.sessions.settings.lazy_time
        if self.timers.remaining(held) > seconds:
            self.timers.cancel(held)
            self.timers.start(held, seconds)

    def count_refusal(self, refusal: Refusal, peer: Peer) -> None:
        """Count a refusal, for metrics and the log."""
        self._counters.count_refusal(refusal, peer)

    def close_all(self, why: Refusal, *, busy: bool = True) -> None:
        """See `Transport`: all are answered, `busy` or not, since nothing is queued for them."""
        for session in self.sessions:
            if session.held is not None:
                session.held.refuse(why)
