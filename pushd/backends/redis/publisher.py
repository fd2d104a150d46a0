"""Publishing: what comes in while calls are on their way goes out together with the next one.

Each call has a number. If its connection is lost before the answer came, it is made again with the same number over
the next one, and the script gives the first answer where there was one: so nothing is published twice. It is not made
again in another run of Redis, which may have forgotten that it had accepted it after others had heard it.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from txredisapi import ConnectionError as LostConnection

from pushd.backends.interface import Duplicate, PublishResult
from pushd.backends.redis.command_runner import CommandRunner
from pushd.backends.redis.encoding import accepted, encode_draft
from pushd.backends.redis.scripts import PUBLISH
from pushd.core.errors import Refusal, TooManyChannels, Unavailable
from pushd.core.history import Bounds
from pushd.core.message import Draft

_CALLS: Final = 8
"""Calls on their way at a time; more only wait in Redis instead of here. The script remembers 64 answers of a node."""
_CALL_MESSAGES: Final = 128
_CALL_BYTES: Final = 1 << 20
"""What goes out in one call: some 3 ms of Redis, in which nobody else is served."""
_WAITING_BYTES: Final = 64 << 20
"""What may wait for Redis; each message counts its data and 1 KiB."""
_EARLIER: Final = 0.8
"""The part of the patience after which Redis itself refuses: else it might accept what was refused meanwhile."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, str, list[int]]).decode


class NotSent(Unavailable):
    """Redis never saw the message, so it may be done with whatever one likes."""


class _PendingPublish:
    """Messages that somebody wants to have published together."""

    __slots__ = ("answer", "bytes", "drafts", "heard", "key", "until")

    def __init__(self, drafts: Sequence[Draft], heard: Sequence[int], key: str, until: float) -> None:
        self.drafts = drafts
        self.heard = heard
        self.key = key
        self.until = until
        self.bytes = sum([len(draft.data) + 1024 for draft in drafts])
        self.answer: Deferred[list[PublishResult]] = Deferred()


class _Call:
    """Wishes that go out together."""

    __slots__ = ("number", "run", "wishes")

    def __init__(self, number: int, wishes: list[_PendingPublish]) -> None:
        self.number = number
        self.wishes = wishes
        self.run = b""
        """The run of Redis to which it went; empty: it has not gone out yet."""

    @property
    def is_wanted(self) -> bool:
        """Whether anybody still waits for it."""
        return not all(wish.answer.called for wish in self.wishes)


class Publisher:
    """All that waits to be published, and what is on its way.

    :param patience: seconds that a publisher waits at most.
    """

    log = Logger()

    def __init__(self, commands: CommandRunner, node: str, bounds: Bounds, clock: Any, patience: float) -> None:
        self.behind = 0.0
        """The clock of Redis less ours, in seconds."""
        self.newest = 0
        """The newest sequence that was answered."""
        self._commands = commands
        self._node = node.encode()
        self._channels = bounds.channels
        limits = (bounds.messages, bounds.bytes, round(bounds.age * 1000), bounds.total_bytes, bounds.channels)
        self._bounds = [str(limit).encode() for limit in limits]
        self._clock = clock
        self._patience = patience
        self._waiting: deque[_PendingPublish] = deque()
        self._waiting_bytes = 0
        self._calls: dict[int, _Call] = {}
        """Those without an answer, in their order."""
        self._number = 0
        self._sending: Any = None
        self._timer: Any = None

    async def publish(self, drafts: Sequence[Draft], heard: Sequence[int], key: str | None) -> list[PublishResult]:
        """Publish messages in their order; give what became of each.

        :param heard: how many subscribers of this node hear each.
        :raises NotSent: Redis is away. :raises Unavailable: it did not answer in time, or takes nothing.
        """
        if not drafts:
            return []
        if self._commands.is_unavailable:
            raise NotSent(str(self._commands.unavailable()))
        wish = _PendingPublish(drafts, heard, key or "", self._clock.seconds() + self._patience)
        if self._waiting_bytes + wish.bytes > _WAITING_BYTES and self._waiting_bytes:
            raise NotSent("too many bytes are waiting for Redis; try again in a moment")
        self._waiting.append(wish)
        self._waiting_bytes += wish.bytes
        self._schedule()
        self._start_timer()
        return await wish.answer

    def connected(self) -> None:
        """Go on over a new connection: first with the calls to which there was no answer."""
        for call in list(self._calls.values()):
            if call.is_wanted:
                self._transmit(call)
            else:
                del self._calls[call.number]
        self._schedule()

    def stop(self) -> None:
        """Refuse all that still waits."""
        for timer in (self._sending, self._timer):
            if timer is not None and timer.active():
                timer.cancel()
        self._sending = self._timer = None
        wishes = [*self._waiting, *(wish for call in self._calls.values() for wish in call.wishes)]
        self._waiting.clear()
        self._calls.clear()
        for wish in wishes:
            self._refuse(wish, Unavailable("the daemon is stopping"))

    # Going out

    def _schedule(self) -> None:
        if self._sending is not None or not self._waiting or self._commands.link.protocol is None:
            return
        if not self._calls:
            self._send()
        elif len(self._calls) < _CALLS:
            self._sending = self._clock.callLater(0, self._send)

    def _send(self) -> None:
        self._sending = None
        while self._waiting and self._commands.link.protocol is not None and len(self._calls) < _CALLS:
            self._number += 1
            call = self._calls[self._number] = _Call(self._number, self._take())
            self._transmit(call)

    def _take(self) -> list[_PendingPublish]:
        wishes: list[_PendingPublish] = []
        messages = size = 0
        while self._waiting:
            wish = self._waiting[0]
            messages += len(wish.drafts)
            size += wish.bytes
            if wishes and (messages > _CALL_MESSAGES or size > _CALL_BYTES or wish.key or wishes[0].key):
                break
            wishes.append(self._waiting.popleft())
            self._waiting_bytes -= wish.bytes
        return wishes

    def _transmit(self, call: _Call) -> None:
        Deferred.fromCoroutine(self._ask(call)).addErrback(self._on_connection_lost, call)

    async def _ask(self, call: _Call) -> None:
        protocol = self._commands.link.protocol
        if protocol is None:
            return
        before, call.run = call.run, self._commands.run
        until = min(wish.until for wish in call.wishes) - self._patience * (1 - _EARLIER) + self.behind
        messages = [
            value
            for wish in call.wishes
            for draft, heard in zip(wish.drafts, wish.heard, strict=True)
            for value in encode_draft(draft, heard)
        ]
        key = call.wishes[0].key
        arguments = (self._node, call.number, before, round(until * 1000), key, _encode(messages))
        try:
            raw = await self._commands.call_over(protocol, PUBLISH, *self._bounds, *arguments)
        except LostConnection:
            if not call.is_wanted:
                self._calls.pop(call.number, None)
            return
        except Refusal as refusal:
            self._settle(call, refusal)
            return
        status, epoch, told = _decode(raw)
        match status:
            case "late":
                self._settle(call, Unavailable("Redis did not process the request in time; nothing was published"))
            case "lost":
                self._settle(call, Unavailable("Redis restarted or failed over; this may have been published"))
            case _:
                self._answer(call, epoch, told, again=status == "again")

    # Answers

    def _answer(self, call: _Call, epoch: str, told: list[int], *, again: bool) -> None:
        self._calls.pop(call.number, None)
        rows = iter(zip(told[::4], told[1::4], told[2::4], told[3::4], strict=True))
        for wish in call.wishes:
            outcomes: list[PublishResult] = []
            for draft, (seq, prev, milliseconds, heard) in zip(wish.drafts, rows, strict=False):
                if seq < 0:
                    sentence = f"too many channels: all of the {self._channels} that are accepted are in use"
                    outcomes.append(TooManyChannels(sentence))
                elif again:
                    outcomes.append(Duplicate(f"{epoch}-{seq}", heard))
                else:
                    self.newest = seq
                    outcomes.append(accepted(draft, epoch, seq, prev, milliseconds))
            if not wish.answer.called:
                wish.answer.callback(outcomes)
        self._schedule()

    def _settle(self, call: _Call, refusal: Refusal) -> None:
        self._calls.pop(call.number, None)
        for wish in call.wishes:
            self._refuse(wish, refusal.without_traceback())
        self._schedule()

    def _on_connection_lost(self, failure: Any, call: _Call) -> None:
        """Know of a bug: an error of a script."""
        self._calls.pop(call.number, None)
        for wish in call.wishes:
            if not wish.answer.called:
                wish.answer.errback(failure)
        self._schedule()

    @staticmethod
    def _refuse(wish: _PendingPublish, refusal: Refusal) -> None:
        if not wish.answer.called:
            wish.answer.errback(refusal)

    # Patience

    def _start_timer(self) -> None:
        """Look again when the patience of the one who has waited longest is over."""
        if self._timer is None:
            oldest = self._oldest()
            if oldest is not None:
                self._timer = self._clock.callLater(max(oldest - self._clock.seconds(), 0.0), self._check_overdue)

    def _oldest(self) -> float | None:
        for call in self._calls.values():
            waiting = [wish.until for wish in call.wishes if not wish.answer.called]
            if waiting:
                return min(waiting)
        return self._waiting[0].until if self._waiting else None

    def _check_overdue(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        while self._waiting and self._waiting[0].until <= now:
            wish = self._waiting.popleft()
            self._waiting_bytes -= wish.bytes
            self._refuse(wish, NotSent(str(self._commands.unavailable())))
        for call in list(self._calls.values()):
            for wish in call.wishes:
                if wish.until <= now:
                    self._refuse(wish, Unavailable("Redis did not answer in time, so this may still be published"))
            if self._commands.link.protocol is None and not call.is_wanted:
                del self._calls[call.number]
        self._start_timer()
