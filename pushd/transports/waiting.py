"""Requests that wait: what long-polling and a held client pull share."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from twisted.internet.interfaces import IReactorTime

from pushd.core.cursor import Since
from pushd.core.delivery import BareWire
from pushd.core.errors import Refusal
from pushd.core.message import Message
from pushd.core.outbox import Limits
from pushd.core.poll import Heard, Poll
from pushd.hub import Hub
from pushd.net.admission import Slot
from pushd.net.alarms import Alarms
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
    """A request that waits; what ends it first counts. There may be many: it has no timer and no coroutine."""

    __slots__ = ("_answer", "_is_hurried", "_poll", "_room", "_slot", "due")

    def __init__(self, room: "WaitingRoom", slot: Slot | None, answer: Callable[[Heard | None], None]) -> None:
        self.due = 0
        self._is_hurried = False
        self._room = room
        self._slot = slot
        self._answer: Callable[[Heard | None], None] | None = answer
        self._poll: Poll

    async def begin(self, poll: Poll, topics: Sequence[str], since: Since, seconds: float) -> None:
        """Wait for at most `seconds` from when it is known what there is."""
        self._poll = poll
        hub = self._room.hub
        try:
            opening = await hub.subscribe(poll, topics, since)
        except BaseException:
            self._leave()
            raise
        poll.position = str(opening.position)
        if self._answer is None:
            return
        if opening.finished:
            poll.has_ended = True
            self.time_is_up()
        else:
            hub.enter(poll)
            self._room.alarms.set(self, 0 if self._is_hurried else seconds)
            await hub.follow(poll, opening)

    def hear(self, heard: Heard) -> None:
        """Know what there is."""
        self._end(heard)

    def write(self, data: bytes) -> None:
        """Send nothing: there is nothing to a poll but its answer."""

    def ended(self, channel: str) -> None:
        """Know that a channel has ended; with the last, there is nothing to wait for."""
        self._room.hub.part(self._poll, (channel,))
        if not self._poll.starts:
            self._poll.has_ended = True
            self.time_is_up()

    def give_up(self, why: Refusal) -> None:
        """Wait no more."""
        self.time_is_up()

    def cancel(self) -> None:
        """Know that the client is gone."""
        self._end(None)

    def hurry(self) -> None:
        """Answer with what there is, at the earliest when the position of the subscription is known."""
        self._is_hurried = True
        if self._poll.position:
            self.time_is_up()

    def time_is_up(self) -> None:
        """Answer with what there is."""
        self._poll.give_over()

    def _end(self, heard: Heard | None) -> None:
        if answer := self._leave():
            answer(heard)

    def _leave(self) -> Callable[[Heard | None], None] | None:
        """Give everything back, and whom to tell, unless that was done."""
        answer, self._answer = self._answer, None
        if answer is not None:
            self._room.left(self, self._poll)
            if self._slot is not None:
                self._slot.release()
        return answer


class WaitingRoom:
    """All requests that wait."""

    def __init__(self, rules: Rules, hub: Hub, clock: IReactorTime) -> None:
        self.hub = hub
        self.alarms = Alarms(clock)
        self._limits = replace(ANSWER, budget=hub.budget)
        self._rules = rules
        self._waiting: dict[_Waiting, None] = {}

    async def wait(
        self,
        request: Request,
        transport: str,
        topics: Sequence[str],
        since: Since,
        seconds: float,
        answer: Callable[[Heard | None], None],
    ) -> None:
        """Begin to wait for at most `seconds` for what a request asks.

        :param transport: the technique, for counters and the log.
        :param answer: is called once, be it at once: with what was heard, or with None when the client is gone.
        :raises Refusal: it can not wait; `answer` is not called.
        """
        slot = self._rules.admit_stream(request)
        waiting = _Waiting(self, slot, answer)
        poll = Poll(waiting, _SILENCE, self._limits, f"{transport} {self._rules.client_of(request)}")
        self._waiting[waiting] = None
        self._rules.counters.connections[transport] += 1
        request.hold(waiting.cancel, waiting.hurry)
        await waiting.begin(poll, topics, since, seconds)

    def left(self, waiting: _Waiting, poll: Poll) -> None:
        """Know that one waits no more."""
        del self._waiting[waiting]
        self._rules.counters.connections[poll.name.partition(" ")[0]] -= 1
        self.alarms.unset(waiting)
        self.hub.leave(poll)

    def close_all(self, why: Refusal, *, busy: bool = True) -> None:
        """Answer all that wait: there is nothing new."""
        for waiting in list(self._waiting):
            waiting.give_up(why)
