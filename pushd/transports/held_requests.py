"""Requests that wait: what long-polling and a held client pull share."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from twisted.internet.interfaces import IReactorTime

from pushd.core.cursor import Since
from pushd.core.delivery import DataOnlyWire
from pushd.core.errors import Refusal
from pushd.core.message import Message
from pushd.core.outbox import QueueLimits
from pushd.core.poll import Poll, PollResult
from pushd.http.request import Request
from pushd.http.resource import HttpContext
from pushd.hub.hub import Hub
from pushd.net.admission import Slot
from pushd.net.coarse_timers import CoarseTimers

ANSWER: Final = QueueLimits(1000, 1 << 20)
"""What one answer holds; the rest comes with the next."""


class _NullWire(DataOnlyWire):
    """The wire of a poll, which says all in its answer."""

    bare = False

    def message(self, message: Message) -> bytes:
        return b""


_NULL_WIRE = _NullWire()


class _HeldRequest:
    """A request that waits; what ends it first counts. There may be many: it has no timer and no coroutine."""

    __slots__ = ("_answer", "_is_hurried", "_poll", "_requests", "_slot", "due")

    def __init__(
        self, requests: "HeldRequests", slot: Slot | None, answer: Callable[[PollResult | None], None]
    ) -> None:
        self.due = 0
        self._is_hurried = False
        self._requests = requests
        self._slot = slot
        self._answer: Callable[[PollResult | None], None] | None = answer
        self._poll: Poll

    async def begin(self, poll: Poll, topics: Sequence[str], since: Since, seconds: float) -> None:
        """Wait for at most `seconds` from when it is known what there is."""
        self._poll = poll
        hub = self._requests.hub
        try:
            opening = await hub.subscribe(poll, topics, since)
        except BaseException:
            self._leave()
            raise
        poll.position = str(opening.position)
        if self._answer is None:
            return
        if opening.is_complete:
            poll.has_ended = True
            self.expire()
        else:
            hub.add(poll)
            self._requests.timers.start(self, 0 if self._is_hurried else seconds)
            await hub.replay_and_go_live(poll, opening)

    def deliver_result(self, heard: PollResult) -> None:
        """Know what there is."""
        self._end(heard)

    def write(self, data: bytes) -> None:
        """Send nothing: there is nothing to a poll but its answer."""

    def channel_ended(self, channel: str) -> None:
        """Know that a channel has ended; with the last, there is nothing to wait for."""
        self._requests.hub.unsubscribe(self._poll, (channel,))
        if not self._poll.starts:
            self._poll.has_ended = True
            self.expire()

    def close(self, why: Refusal) -> None:
        """Wait no more."""
        self.expire()

    def client_disconnected(self) -> None:
        """Know that the client is gone."""
        self._end(None)

    def hurry(self) -> None:
        """Answer with what there is, at the earliest when the position of the subscription is known."""
        self._is_hurried = True
        if self._poll.position:
            self.expire()

    def expire(self) -> None:
        """Answer with what there is."""
        self._poll.finish()

    def _end(self, heard: PollResult | None) -> None:
        if answer := self._leave():
            answer(heard)

    def _leave(self) -> Callable[[PollResult | None], None] | None:
        """Give everything back, and whom to tell, unless that was done."""
        answer, self._answer = self._answer, None
        if answer is not None:
            self._requests.remove(self, self._poll)
            if self._slot is not None:
                self._slot.release()
        return answer


class HeldRequests:
    """All requests that wait."""

    def __init__(self, context: HttpContext, hub: Hub, clock: IReactorTime) -> None:
        self.hub = hub
        self.timers = CoarseTimers(clock)
        self._limits = replace(ANSWER, budget=hub.budget)
        self._rules = context
        self._waiting: dict[_HeldRequest, None] = {}

    async def hold(
        self,
        request: Request,
        transport: str,
        topics: Sequence[str],
        since: Since,
        seconds: float,
        answer: Callable[[PollResult | None], None],
    ) -> None:
        """Begin to wait for at most `seconds` for what a request asks.

        :param transport: the technique, for counters and the log.
        :param answer: is called once, be it at once: with what was heard, or with None when the client is gone.
        :raises Refusal: it can not wait; `answer` is not called.
        """
        slot = self._rules.admit_stream(request)
        waiting = _HeldRequest(self, slot, answer)
        poll = Poll(waiting, _NULL_WIRE, self._limits, f"{transport} {self._rules.client_of(request)}")
        self._waiting[waiting] = None
        self._rules.counters.connections[transport] += 1
        request.hold(waiting.client_disconnected, waiting.hurry)
        await waiting.begin(poll, topics, since, seconds)

    def remove(self, waiting: _HeldRequest, poll: Poll) -> None:
        """Know that one waits no more."""
        del self._waiting[waiting]
        self._rules.counters.connections[poll.name.partition(" ")[0]] -= 1
        self.timers.cancel(waiting)
        self.hub.remove(poll)

    def close_all(self, why: Refusal, *, busy: bool = True) -> None:
        """Answer all that wait: there is nothing new."""
        for waiting in list(self._waiting):
            waiting.close(why)
