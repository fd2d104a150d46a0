"""Held requests: requests that wait for messages, shared by long polling and client pull."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from twisted.internet.interfaces import IReactorTime

from pushd.core.cursor import Since
from pushd.core.delivery import DataOnlyWire
from pushd.core.errors import UNAUTHORIZED, Refusal, Stopping
from pushd.core.message import Message
from pushd.core.outbox import QueueLimits
from pushd.core.peer import Peer
from pushd.core.poll import Poll, PollResult
from pushd.core.presence import AsMember
from pushd.http.errors import render_refusal
from pushd.http.request import Request
from pushd.http.resource import HttpContext
from pushd.hub.hub import Hub
from pushd.net.coarse_timers import CoarseTimers
from pushd.transports.live_connections import LiveConnections

ANSWER: Final = QueueLimits(1000, 1 << 20)
"""The limits of one answer; the rest is sent with the next."""
_READ_SECONDS: Final = 5.0
"""How long a request whose time is over waits for the history, before it is answered without."""


class _NullWire(DataOnlyWire):
    """The wire of a poll. It encodes nothing, since the answer is built from the `PollResult`."""

    bare = False

    def message(self, message: Message) -> bytes:
        return b""


_NULL_WIRE = _NullWire()


class _HeldRequest:
    """One held request. It ends once, by whichever event is first. It has no timer and no coroutine of its own."""

    __slots__ = ("_answer", "_is_hurried", "_request", "_requests", "due", "subscriber")

    def __init__(
        self,
        requests: "HeldRequests",
        request: Request,
        peer: Peer,
        limits: QueueLimits,
        answer: Callable[[PollResult | None], None],
    ) -> None:
        self.due = 0
        self.subscriber = Poll(self, _NULL_WIRE, limits, peer)
        self._is_hurried = False
        self._request = request
        self._requests = requests
        self._answer = answer

    async def begin(
        self, topics: Sequence[str], since: Since, seconds: float, member: AsMember | None, *, responder: bool
    ) -> None:
        """Subscribe, then wait for at most `seconds`, counted from when the start position is known. The history is
        read even if they are none.
        """
        poll, hub = self.subscriber, self._requests.hub
        opening = await self._requests.live.subscribe(self, topics, since, member, responder=responder)
        if opening is None:
            return
        poll.position = str(opening.cursor)
        if opening.is_complete:
            poll.has_ended = True
            poll.finish()
        else:
            self._is_hurried |= not seconds
            self._requests.timers.start(self, _READ_SECONDS if self._is_hurried else seconds)
            await hub.replay_and_go_live(poll, opening)
            if self._is_hurried:
                self._answer_if_read()

    def deliver_result(self, result: PollResult) -> None:
        """Answer with the result of the poll."""
        self._requests.live.remove(self)
        self._answer(result)

    def write(self, data: bytes) -> None:
        """Send nothing: a poll sends only its answer."""

    def topics_ended(self) -> None:
        """Called when every channel has ended: answer the request."""
        self.subscriber.has_ended = True
        self.subscriber.finish()

    def close(self, why: Refusal) -> None:
        """Answer with what there is; refuse if the subscription is still being opened, or the peer lost its rights."""
        self._request.closes_connection |= isinstance(why, Stopping)
        if isinstance(why, UNAUTHORIZED) and self.subscriber.position:
            self._requests.live.remove(self, why)
            self._request.answer(render_refusal(self._request, why))
            self._answer(None)
        elif self.subscriber.position:
            self.subscriber.finish()
        else:
            self._requests.live.remove(self, why)

    def abort(self) -> None:
        """Close the connection without an answer; a request whose subscription is still being opened is refused."""
        if self.subscriber.position:
            self._request.abort()

    def client_disconnected(self) -> None:
        """Called when the client has disconnected, perhaps after the end and before the answer."""
        if self._requests.live.discard(self):
            self._answer(None)

    def hurry(self) -> None:
        """Answer with what there is, as soon as the history was read.

        Called when more requests follow, perhaps after the end and before the answer.
        """
        self._is_hurried = True
        if self.subscriber.position:
            self._answer_if_read()

    def expire(self) -> None:
        """Called when the time is over: answer with what there is, at once only if the history was read."""
        if self._is_hurried or self.subscriber.catch_up is None:
            self.subscriber.finish()
        else:
            self._is_hurried = True
            self._requests.timers.start(self, _READ_SECONDS)

    def _answer_if_read(self) -> None:
        """Answer with what there is, unless that was done or the history is still being read."""
        if not self.subscriber.is_closed and self.subscriber.catch_up is None:
            self.subscriber.finish()


class HeldRequests:
    """All held requests."""

    def __init__(self, context: HttpContext, hub: Hub, clock: IReactorTime) -> None:
        self.hub = hub
        self.timers = CoarseTimers(clock)
        self._limits = replace(ANSWER, budget=hub.budget)
        self._context = context
        self.live: LiveConnections[_HeldRequest] = LiveConnections(hub, context.counters, on_removed=self.timers.cancel)

    async def hold(
        self,
        request: Request,
        transport: str,
        topics: Sequence[str],
        since: Since,
        seconds: float,
        answer: Callable[[PollResult | None], None],
        member: AsMember | None = None,
        *,
        responder: bool = False,
    ) -> None:
        """Hold a request for at most `seconds` until there are messages for it.

        :param transport: the name of the transport, for counters and the log.
        :param answer: called once, perhaps before this returns: with the result, or with None when the client has
            disconnected.
        :param member: as whom it enters the channels among the topics; None if it does not. The grace of the answered
            request lasts until the next one.
        :param responder: see `LiveConnections.subscribe`.
        :raises Refusal: when the request cannot be held; `answer` is not called.
        """
        slot = self._context.admit_stream(request)
        held = _HeldRequest(self, request, self._context.peer_of(request, transport), self._limits, answer)
        self.live.add(held, slot)
        request.hold(held.client_disconnected, held.hurry)
        await held.begin(topics, since, seconds, member, responder=responder)

    def close_all(self, why: Refusal, *, busy: bool = True) -> None:
        """Answer all held requests with what there is; `busy` makes no difference, since nothing is queued for them."""
        self.live.close_all(why)
