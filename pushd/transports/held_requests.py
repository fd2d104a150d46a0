"""Held requests: requests that wait for messages, shared by long polling and client pull."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from twisted.internet.interfaces import IReactorTime

from pushd.core.cursor import Since
from pushd.core.delivery import DataOnlyWire
from pushd.core.errors import Refusal
from pushd.core.message import Message
from pushd.core.outbox import QueueLimits
from pushd.core.peer import Peer
from pushd.core.poll import Poll, PollResult
from pushd.http.request import Request
from pushd.http.resource import HttpContext
from pushd.hub.hub import Hub
from pushd.net.admission import Slot
from pushd.net.coarse_timers import CoarseTimers

ANSWER: Final = QueueLimits(1000, 1 << 20)
"""The limits of one answer; the rest is sent with the next."""


class _NullWire(DataOnlyWire):
    """The wire of a poll. It encodes nothing, since the answer is built from the `PollResult`."""

    bare = False

    def message(self, message: Message) -> bytes:
        return b""


_NULL_WIRE = _NullWire()


class _HeldRequest:
    """One held request. It ends once, by whichever event is first. It has no timer and no coroutine of its own."""

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
        """Subscribe, then wait for at most `seconds`, counted from when the start position is known."""
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

    def deliver_result(self, result: PollResult) -> None:
        """Answer with the result of the poll."""
        self._end(result)

    def write(self, data: bytes) -> None:
        """Send nothing: a poll sends only its answer."""

    def channel_ended(self, channel: str) -> None:
        """Called when a channel has ended; with the last one the request is answered."""
        self._requests.hub.unsubscribe(self._poll, (channel,))
        if not self._poll.starts:
            self._poll.has_ended = True
            self.expire()

    def close(self, why: Refusal) -> None:
        """Answer with what there is."""
        self.expire()

    def client_disconnected(self) -> None:
        """Called when the client has disconnected."""
        self._end(None)

    def hurry(self) -> None:
        """Answer with what there is, as soon as the start position of the subscription is known."""
        self._is_hurried = True
        if self._poll.position:
            self.expire()

    def expire(self) -> None:
        """Answer with what there is."""
        self._poll.finish()

    def _end(self, result: PollResult | None) -> None:
        if answer := self._leave():
            answer(result)

    def _leave(self) -> Callable[[PollResult | None], None] | None:
        """Release everything and return the callback for the answer; None when that was done before."""
        answer, self._answer = self._answer, None
        if answer is not None:
            self._requests.remove(self, self._poll)
            if self._slot is not None:
                self._slot.release()
        return answer


class HeldRequests:
    """All held requests."""

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
        """Hold a request for at most `seconds` until there are messages for it.

        :param transport: the name of the transport, for counters and the log.
        :param answer: is called once, perhaps before this returns: with the result, or with None when the client has
            disconnected.
        :raises Refusal: when the request cannot be held; `answer` is not called.
        """
        slot = self._rules.admit_stream(request)
        waiting = _HeldRequest(self, slot, answer)
        poll = Poll(waiting, _NULL_WIRE, self._limits, Peer(transport, self._rules.client_of(request)))
        self._waiting[waiting] = None
        self._rules.counters.connections[transport] += 1
        request.hold(waiting.client_disconnected, waiting.hurry)
        await waiting.begin(poll, topics, since, seconds)

    def remove(self, waiting: _HeldRequest, poll: Poll) -> None:
        """Remove a request that has ended."""
        del self._waiting[waiting]
        self._rules.counters.connections[poll.peer.transport] -= 1
        self.timers.cancel(waiting)
        self.hub.remove(poll)

    def close_all(self, why: Refusal, *, busy: bool = True) -> None:
        """Answer all held requests with what there is."""
        for waiting in list(self._waiting):
            waiting.close(why)
