"""Publishing: messages that arrive while calls are in progress are sent together with the next call.

Each call has a number. If its connection is lost before the reply, it is repeated with the same number over the next
connection, and the script returns the first reply if there was one, so nothing is published twice. It is not repeated
in another run of Redis or another epoch, which may have lost the message and the reply after other nodes received it.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from txredisapi import ConnectionError as LostConnection

from pushd.backends.hook_outbox import PublishHook
from pushd.backends.interface import Duplicate, PublishResult
from pushd.backends.redis.command_runner import CommandRunner
from pushd.backends.redis.encoding import accepted, encode_draft
from pushd.backends.redis.retention_walk import own_retentions
from pushd.backends.redis.scripts import PUBLISH, PUBLISH_WITH_HOOKS
from pushd.core.channel_rules import Retentions
from pushd.core.errors import IdempotencyMismatch, OutcomeUnknown, Refusal, TooManyChannels, Unavailable
from pushd.core.idempotency import MISMATCH, IdempotencyKey
from pushd.core.message import Draft
from pushd.core.names import DEAD

_CALLS: Final = 8
"""The most calls in progress; more would only wait in Redis. The script remembers 64 replies of a node."""
_CALL_MESSAGES: Final = 128
_CALL_BYTES: Final = 1 << 20
"""The most of one call: some 3 ms, in which Redis serves no other client."""
_WAITING_BYTES: Final = 64 << 20
"""The most bytes that wait for Redis; each message counts its data and 1 KiB."""
_EARLIER: Final = 0.8
"""The share of the timeout after which Redis itself refuses; it might otherwise accept what was refused already."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, str, list[int]]).decode


class NotSent(Unavailable):
    """Redis has not received the message, so it may be delivered locally or refused."""


Hooks = Sequence[Sequence[PublishHook]]
"""The hooks with an event of each message."""


class HookPacker(Protocol):
    """Packs the hooks of messages for the script; see `pushd.backends.redis.outbox`."""

    def pack(self, messages: Sequence[tuple[Draft, Sequence[PublishHook]]]) -> tuple[bytes, list[str]]:
        """Return the hooks of the messages of a call, for the script, and their names; empty if there are none."""

    def on_added(self, hooks: Iterable[str]) -> None:
        """Called when events were added."""


class _PendingPublish:
    """Messages that are published together."""

    __slots__ = ("answer", "bytes", "drafts", "hooks", "key", "subscribers", "until")

    def __init__(
        self,
        drafts: Sequence[Draft],
        subscribers: Sequence[int],
        key: IdempotencyKey | None,
        until: float,
        hooks: Hooks | None,
    ) -> None:
        self.hooks = hooks
        self.drafts = drafts
        self.subscribers = subscribers
        self.key = key
        self.until = until
        self.bytes = sum([len(draft.data) * (1 if draft.exclude is None else 2) + 1024 for draft in drafts])
        if hooks is not None:
            self.bytes *= 2
        self.answer: Deferred[list[PublishResult]] = Deferred()


class _Call:
    """Publishes that are sent in one call."""

    __slots__ = ("epoch", "number", "publishes", "run")

    def __init__(self, number: int, publishes: list[_PendingPublish]) -> None:
        self.number = number
        self.publishes = publishes
        self.run = b""
        """The run id of the Redis to which it was sent; empty before."""
        self.epoch = ""
        """The epoch in which it was sent first."""

    @property
    def is_wanted(self) -> bool:
        """Whether a publisher still waits for the reply."""
        return not all(pending.answer.called for pending in self.publishes)


class Publisher:
    """The waiting publishes, and the calls in progress.

    :param patience: the timeout of a publish, in seconds.
    """

    log = Logger()

    def __init__(self, commands: CommandRunner, node: str, retentions: Retentions, clock: Any, patience: float) -> None:
        self.behind = 0.0
        """The clock of Redis minus that of this node, in seconds."""
        self.newest = 0
        """The newest sequence in a reply."""
        self._commands = commands
        self._node = node.encode()
        bounds = retentions.bounds
        self.retentions = retentions
        """The retention of channels, also of messages that are sent from now on."""
        self._channels = bounds.channels
        limits = (bounds.messages, bounds.bytes, round(bounds.age * 1000), bounds.total_bytes, bounds.channels)
        self.bounds = [str(limit).encode() for limit in limits]
        """The bounds of channels, for scripts."""
        self.hooks: HookPacker | None = None
        """Packs the hooks with events of publishes; None if there is no outbox."""
        self._clock = clock
        self._patience = patience
        self._waiting: deque[_PendingPublish] = deque()
        self._waiting_bytes = 0
        self._calls: dict[int, _Call] = {}
        """The calls without a reply, in their order."""
        self._number = 0
        self._sending: Any = None
        self._timer: Any = None

    async def publish(
        self,
        drafts: Sequence[Draft],
        subscribers: Sequence[int],
        key: IdempotencyKey | None,
        hooks: Hooks | None = None,
    ) -> list[PublishResult]:
        """Publish messages in their order; return the result of each.

        :param subscribers: the number of subscribers of each at this node.
        :param hooks: the hooks with an event of each; None if there are none.
        :raises NotSent: when Redis is unavailable.
        :raises Unavailable: when it did not reply in time, or accepts no writes.
        """
        if not drafts:
            return []
        if self._commands.is_unavailable:
            raise NotSent(str(self._commands.unavailable()))
        pending = _PendingPublish(drafts, subscribers, key, self._clock.seconds() + self._patience, hooks)
        if self._waiting_bytes + pending.bytes > _WAITING_BYTES and self._waiting_bytes:
            raise NotSent("too many bytes are waiting for Redis; try again in a moment")
        self._waiting.append(pending)
        self._waiting_bytes += pending.bytes
        self._schedule()
        self._start_timer()
        return await pending.answer

    def connected(self) -> None:
        """Called with a new connection: repeat the calls without a reply, then continue."""
        for call in list(self._calls.values()):
            if call.is_wanted:
                self._transmit(call)
            else:
                del self._calls[call.number]
        self._schedule()

    def stop(self) -> None:
        """Refuse all waiting publishes."""
        for timer in (self._sending, self._timer):
            if timer is not None and timer.active():
                timer.cancel()
        self._sending = self._timer = None
        publishes = [*self._waiting, *(pending for call in self._calls.values() for pending in call.publishes)]
        self._waiting.clear()
        self._calls.clear()
        for pending in publishes:
            self._refuse(pending, Unavailable("the daemon is stopping"))

    # Calls

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
        publishes: list[_PendingPublish] = []
        messages = size = 0
        while self._waiting:
            pending = self._waiting[0]
            messages += len(pending.drafts)
            size += pending.bytes
            if publishes and (messages > _CALL_MESSAGES or size > _CALL_BYTES or pending.key or publishes[0].key):
                break
            publishes.append(self._waiting.popleft())
            self._waiting_bytes -= pending.bytes
        return publishes

    def _transmit(self, call: _Call) -> None:
        Deferred.fromCoroutine(self._ask(call)).addErrback(self._on_error, call)

    async def _ask(self, call: _Call) -> None:
        protocol = self._commands.link.protocol
        if protocol is None:
            return
        before, call.run = call.run, self._commands.run
        call.epoch = call.epoch or self._commands.epoch
        until = min(pending.until for pending in call.publishes) - self._patience * (1 - _EARLIER) + self.behind
        messages = [
            value
            for pending in call.publishes
            for draft, subscribers in zip(pending.drafts, pending.subscribers, strict=True)
            for value in encode_draft(draft, subscribers)
        ]
        text, digest = call.publishes[0].key or IdempotencyKey("", b"")
        channels = [each.channel for pending in call.publishes for each in pending.drafts]
        hooks, names = self._pack_hooks(call)
        own = own_retentions(self.retentions, [*channels, *[DEAD + name for name in names]])
        arguments = (
            self._node,
            call.number,
            before,
            round(until * 1000),
            text,
            _encode(messages),
            digest,
            call.epoch,
            own,
            hooks,
        )
        try:
            raw = await self._commands.call_over(
                protocol, PUBLISH_WITH_HOOKS if hooks else PUBLISH, *self.bounds, *arguments
            )
        except LostConnection:
            if not call.is_wanted:
                self._calls.pop(call.number, None)
            return
        except Refusal as refusal:
            self._settle(call, refusal)
            return
        status, epoch, values = _decode(raw)
        match status:
            case "late":
                self._settle(call, Unavailable("Redis did not process the request in time; nothing was published"))
            case "mismatch":
                self._settle(call, IdempotencyMismatch(MISMATCH))
            case "lost":
                self._settle(call, OutcomeUnknown("Redis restarted or lost its data; this may have been published"))
            case _:
                if names and self.hooks is not None:
                    self.hooks.on_added(names)
                self._answer(call, epoch, values, again=status == "again")

    def _pack_hooks(self, call: _Call) -> tuple[bytes, list[str]]:
        if self.hooks is None or all(pending.hooks is None for pending in call.publishes):
            return b"", []
        messages: list[tuple[Draft, Sequence[PublishHook]]] = []
        for pending in call.publishes:
            messages += zip(pending.drafts, pending.hooks or [()] * len(pending.drafts), strict=True)
        return self.hooks.pack(messages)

    # Replies

    def _answer(self, call: _Call, epoch: str, values: list[int], *, again: bool) -> None:
        self._calls.pop(call.number, None)
        rows = iter(zip(values[::4], values[1::4], values[2::4], values[3::4], strict=True))
        for pending in call.publishes:
            outcomes: list[PublishResult] = []
            for draft, (seq, prev, milliseconds, subscribers) in zip(pending.drafts, rows, strict=False):
                if seq < 0:
                    sentence = f"too many channels: all of the {self._channels} that are accepted are in use"
                    outcomes.append(TooManyChannels(sentence))
                elif again:
                    outcomes.append(Duplicate(f"{epoch}-{seq}", subscribers))
                else:
                    self.newest = seq
                    outcomes.append(accepted(draft, epoch, seq, prev, milliseconds))
            if not pending.answer.called:
                pending.answer.callback(outcomes)
        self._schedule()

    def _settle(self, call: _Call, refusal: Refusal) -> None:
        self._calls.pop(call.number, None)
        for pending in call.publishes:
            self._refuse(pending, refusal.without_traceback())
        self._schedule()

    def _on_error(self, failure: Any, call: _Call) -> None:
        """Called with an unexpected error, such as one of a script."""
        self._calls.pop(call.number, None)
        for pending in call.publishes:
            if not pending.answer.called:
                pending.answer.errback(failure)
        self._schedule()

    @staticmethod
    def _refuse(pending: _PendingPublish, refusal: Refusal) -> None:
        if not pending.answer.called:
            pending.answer.errback(refusal)

    # Timeouts

    def _start_timer(self) -> None:
        """Start the timer for the publish that has waited longest."""
        if self._timer is None:
            oldest = self._oldest()
            if oldest is not None:
                self._timer = self._clock.callLater(max(oldest - self._clock.seconds(), 0.0), self._check_overdue)

    def _oldest(self) -> float | None:
        for call in self._calls.values():
            waiting = [pending.until for pending in call.publishes if not pending.answer.called]
            if waiting:
                return min(waiting)
        return self._waiting[0].until if self._waiting else None

    def _check_overdue(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        while self._waiting and self._waiting[0].until <= now:
            pending = self._waiting.popleft()
            self._waiting_bytes -= pending.bytes
            self._refuse(pending, NotSent(str(self._commands.unavailable())))
        for call in list(self._calls.values()):
            for pending in call.publishes:
                if pending.until <= now:
                    self._refuse(pending, Unavailable("Redis did not answer in time, so this may still be published"))
            if self._commands.link.protocol is None and not call.is_wanted:
                del self._calls[call.number]
        self._start_timer()
