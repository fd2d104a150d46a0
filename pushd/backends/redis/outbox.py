"""The outbox of hooks in Redis: see `lua/hooks.lua`. Each hook has one node as its sender, by a key that it renews."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from secrets import token_hex
from typing import Any, Final

import msgspec
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.defer import TimeoutError as TooLate
from twisted.logger import Logger
from txredisapi import RedisError

from pushd.backends.hook_outbox import (
    ACQUIRED_SECONDS,
    DEFAULT_BOUNDS,
    NO_BACKLOG,
    UNSHARED,
    Backlog,
    HookBounds,
    HookEvent,
    PublishHook,
    PublishHooks,
    QueuedEvent,
    SharedHookState,
)
from pushd.backends.redis.command_runner import CommandRunner
from pushd.backends.redis.encoding import as_text
from pushd.backends.redis.publisher import Publisher
from pushd.backends.redis.retention_walk import own_retentions
from pushd.backends.redis.scripts import HOOK
from pushd.core.errors import Refusal
from pushd.core.message import Draft
from pushd.core.names import DEAD
from pushd.wire.hook_events import message_tail

_CALL_EVENTS: Final = 128
_CALL_BYTES: Final = 1 << 20
"""The most of one call that adds events: a few milliseconds."""
_STOP_SECONDS: Final = 1.0

_encode = msgspec.msgpack.Encoder().encode
_decode_events = msgspec.msgpack.Decoder(list[tuple[str, str, str, str]] | dict[str, int]).decode
"""Lua has no empty list."""
_decode_names = msgspec.msgpack.Decoder(list[str] | dict[str, int]).decode
_decode_flag = msgspec.msgpack.Decoder(bool).decode
_decode_right = msgspec.msgpack.Decoder(tuple[bool, bool, int]).decode
_decode_backlog = msgspec.msgpack.Decoder(tuple[int, int, str, int]).decode


class RedisOutbox:
    """See `pushd.backends.hook_outbox.HookOutbox`.

    :param node: the id of this node.
    """

    log = Logger()

    def __init__(self, commands: CommandRunner, publisher: Publisher, node: str, clock: Any) -> None:
        self.publish_hooks: PublishHooks | None = None
        """See `HookOutbox.reconfigure`."""
        self._commands = commands
        self._publisher = publisher
        self._node = node
        self._clock = clock
        self._bounds: Mapping[str, HookBounds] = {}
        self._on_added: Callable[[str], None] = lambda hook: None
        self._states: dict[str, SharedHookState] = {}
        self._acquired: set[str] = set()
        self._releasing: set[Deferred[Any]] = set()
        """Calls that are in progress."""

    async def stop(self) -> None:
        """Release the right to send, so that other nodes can be the senders."""
        for hook in list(self._acquired):
            self.release(hook)
        if self._releasing and self._commands.link.protocol is not None:
            with suppress(TooLate):
                await DeferredList(list(self._releasing)).addTimeout(_STOP_SECONDS, self._clock)

    def reconfigure(
        self, bounds: Mapping[str, HookBounds], publish_hooks: PublishHooks | None, on_added: Callable[[str], None]
    ) -> None:
        """See `HookOutbox`, here and below."""
        self._bounds, self.publish_hooks, self._on_added = bounds, publish_hooks, on_added

    async def add(self, events: Sequence[HookEvent]) -> None:
        for some in _parts(events):
            by_hook: dict[str, list[object]] = {}
            for hook, channel, body in some:
                by_hook.setdefault(hook, []).extend((channel, as_text(body)))
            words = [(hook, *self._limits(hook), each) for hook, each in by_hook.items()]
            await self._call("add", by_hook, token_hex(8), _encode(words))
            self.on_added(by_hook)

    async def first(self, hook: str, count: int, size: int) -> Sequence[QueuedEvent]:
        age = round(self._bounds.get(hook, DEFAULT_BOUNDS).age * 1000)
        found = _decode_events(await self._call("first", (hook,), hook, count, size, age))
        rows = found if isinstance(found, list) else ()
        return [
            QueuedEvent(int(number), channel, int(time) / 1000, body.encode()) for number, channel, time, body in rows
        ]

    async def confirm(self, hook: str, through: int) -> None:
        while _decode_flag(await self._call("confirm", (), hook, through)):
            pass

    async def dead_letter(self, hook: str, through: int, reason: str) -> None:
        while _decode_flag(await self._call("dead", (hook,), hook, through, reason)):
            pass

    async def backlog(self, hook: str) -> Backlog:
        events, size, oldest, dead = _decode_backlog(await self._call("backlog", (), hook))
        return Backlog(events, size, int(oldest) / 1000 if oldest else None, dead) if events or dead else NO_BACKLOG

    async def names(self) -> Sequence[str]:
        return sorted(_decode_names(await self._call("names", ())))

    async def acquire(self, hook: str) -> bool:
        term = round(ACQUIRED_SECONDS * 1000)
        raw = await self._call("acquire", (), hook, self._node, term)
        is_sender, is_disabled, resumed = _decode_right(raw)
        self._states[hook] = SharedHookState(is_disabled, resumed)
        (self._acquired.add if is_sender else self._acquired.discard)(hook)
        return is_sender

    async def disable(self, hook: str) -> None:
        await self._call("disable", (), hook)

    async def resume(self, hook: str) -> None:
        await self._call("resume", (), hook)

    def shared_state(self, hook: str) -> SharedHookState:
        return self._states.get(hook, UNSHARED)

    def release(self, hook: str) -> None:
        if hook in self._acquired:
            self._acquired.discard(hook)
            releasing = Deferred.fromCoroutine(self._release(hook))
            self._releasing.add(releasing)
            releasing.addErrback(lambda failure: self.log.failure("Redis: releasing a hook failed", failure))
            releasing.addBoth(lambda result: self._releasing.discard(releasing))

    # Publishes

    def hooks_of(self, drafts: Sequence[Draft]) -> Sequence[Sequence[PublishHook]] | None:
        """Return the hooks with events of messages; None if there are none."""
        hooks = self.publish_hooks
        if hooks is None:
            return None
        found = [hooks.hooks_of(draft.channel) if draft.keep and draft.channel[0] != "$" else () for draft in drafts]
        return found if any(found) else None

    def of_members(self) -> tuple[Sequence[tuple[str, int, int]], bytes]:
        """Return the hooks with events of members, each with its bounds, and the retention of their dead letters."""
        names = self.publish_hooks.of_members() if self.publish_hooks else ()
        own = own_retentions(self._publisher.retentions, [DEAD + name for name in names])
        return [(name, *self._limits(name)) for name in names], own

    def on_members_changed(self) -> None:
        """Called when members were changed by this node."""
        if self.publish_hooks is not None:
            self.on_added(self.publish_hooks.of_members())

    def on_added(self, hooks: Iterable[str]) -> None:
        """Called when this node has added events."""
        for hook in hooks:
            self._on_added(hook)

    def pack(self, messages: Sequence[tuple[Draft, Sequence[PublishHook]]]) -> tuple[bytes, list[str]]:
        """Return the hooks of the messages of a call, for the script, and their names; empty if there are none."""
        by_hook: dict[str, list[object]] = {}
        for place, (draft, hooks) in enumerate(messages, 1):
            for name, has_content in hooks:
                tail = as_text(message_tail(draft)) if has_content else ""
                by_hook.setdefault(name, []).extend((place, tail))
        words = [(hook, *self._limits(hook), each) for hook, each in by_hook.items()]
        return _encode(words) if words else b"", list(by_hook)

    def _limits(self, hook: str) -> tuple[int, int]:
        bounds = self._bounds.get(hook, DEFAULT_BOUNDS)
        return bounds.events, bounds.bytes

    async def _release(self, hook: str) -> None:
        with suppress(RedisError, Refusal, CancelledError):  # it ends by itself
            await self._call("release", (), hook, self._node)

    async def _call(self, command: str, hooks: Iterable[str], *words: object) -> Any:
        """Call the script; `hooks`: those that may have dead letters then."""
        publisher = self._publisher
        own = own_retentions(publisher.retentions, [DEAD + hook for hook in hooks])
        return await self._commands.call(HOOK, *publisher.bounds, own, command, *words)


def _parts(events: Sequence[HookEvent]) -> Iterable[Sequence[HookEvent]]:
    """Yield events in parts that are small enough for one call."""
    part: list[HookEvent] = []
    size = 0
    for event in events:
        if part and (len(part) >= _CALL_EVENTS or size + len(event.body) > _CALL_BYTES):
            yield part
            part, size = [], 0
        part.append(event)
        size += len(event.body)
    if part:
        yield part
