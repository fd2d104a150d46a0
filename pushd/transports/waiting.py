"""Requests that wait: what long-polling and a held client pull share."""

from collections.abc import Sequence
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from pushd.core.cursor import Since
from pushd.core.delivery import BareWire
from pushd.core.errors import Refusal
from pushd.core.message import Message
from pushd.core.outbox import Limits
from pushd.core.poll import Heard, Poll
from pushd.hub import Hub
from pushd.transports.http import Rules
from pushd.transports.request import Request

ANSWER: Final = Limits(1000, 1 << 20)
"""What one answer holds; the rest comes with the next."""


class _Silence(BareWire):
    """The wire of a poll, which says all in its answer."""

    bare = False

    def message(self, message: Message) -> bytes:
        return b""


_SILENCE = _Silence()


class _Waiting:
    """The wait for what a poll hears; what ends it first counts."""

    def __init__(self, hub: Hub, clock: IReactorTime) -> None:
        self._hub = hub
        self._clock = clock
        self._heard: Deferred[Heard | None] = Deferred()
        self._poll: Poll

    async def result(self, poll: Poll, topics: Sequence[str], since: Since, seconds: float) -> Heard | None:
        """Wait for at most `seconds`; None where nobody is there to be answered."""
        self._poll = poll
        opening = await self._hub.subscribe(poll, topics, since)
        poll.position = str(opening.position)
        late = self._clock.callLater(seconds, self._nothing)
        try:
            if opening.finished:
                self._nothing()
            else:
                await self._hub.follow(poll, opening)
            return await self._heard
        finally:
            if late.active():
                late.cancel()

    def hear(self, heard: Heard) -> None:
        """Know what there is."""
        self._hub.leave(self._poll)
        self._end(heard)

    def write(self, data: bytes) -> None:
        """Send nothing: there is nothing to a poll but its answer."""

    def ended(self, channel: str) -> None:
        """Know that a channel has ended; with the last, there is nothing to wait for."""
        self._hub.part(self._poll, (channel,))
        if not self._poll.starts:
            self._nothing()

    def give_up(self, why: Refusal) -> None:
        """Wait no more."""
        self._nothing()

    def cancel(self) -> None:
        """Know that the client is gone."""
        self._end(None)

    def _nothing(self) -> None:
        self._poll.give_over()

    def _end(self, heard: Heard | None) -> None:
        if not self._heard.called:
            self._heard.callback(heard)


class WaitingRoom:
    """All requests that wait."""

    def __init__(self, rules: Rules, hub: Hub, clock: IReactorTime) -> None:
        self._rules = rules
        self._hub = hub
        self._clock = clock
        self._waiting: dict[_Waiting, None] = {}

    async def wait(
        self, request: Request, transport: str, topics: Sequence[str], since: Since, seconds: float
    ) -> Heard | None:
        """Wait for at most `seconds` for what a request asks; None where the client is gone.

        :param transport: the technique, for counters and the log.
        """
        slot = self._rules.admit_stream(request)
        waiting = _Waiting(self._hub, self._clock)
        poll = Poll(waiting, _SILENCE, ANSWER, f"{transport} {self._rules.client_of(request)}")
        self._waiting[waiting] = None
        self._rules.counters.connections[transport] += 1
        request.gone = waiting.cancel
        try:
            return await waiting.result(poll, topics, since, seconds)
        finally:
            del self._waiting[waiting]
            self._rules.counters.connections[transport] -= 1
            self._hub.leave(poll)
            if slot is not None:
                slot.release()

    def close_all(self, why: Refusal) -> None:
        """Answer all that wait: there is nothing new."""
        for waiting in list(self._waiting):
            waiting.give_up(why)
