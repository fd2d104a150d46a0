"""The walk over all channels in Redis that applies the rules of this node to them, after a reload or a start.

The script that publishes applies the retention of a channel, too; the walk is for those that nobody publishes to. Redis
has a digest of the rules that were applied last: a node that starts with the same ones does not walk.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from typing import Any, Final, TypeVar

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from pushd.backends.redis.command_runner import CommandRunner
from pushd.backends.redis.reader import Reader
from pushd.backends.redis.scripts import RETAIN
from pushd.core.channel_rules import Retentions
from pushd.core.errors import Refusal
from pushd.core.history import Retention

_CHANNELS: Final = 200
_EVICTED: Final = 500
"""The most channels, and messages that are removed, in one call: some milliseconds."""
_RETRY_SECONDS: Final = 1.0
"""The pause after a call that Redis refused."""

_encode = msgspec.msgpack.Encoder().encode
T = TypeVar("T")
_decode = msgspec.msgpack.Decoder(tuple[str, list[str]]).decode


def own_retentions(retentions: Retentions, channels: Iterable[str]) -> bytes:
    """Return the retention of those channels that have one of their own, for a script; empty if none has."""
    if len(retentions.table) == 1:
        return b""
    own = {name: each for name in channels if (each := retentions.of(name)) != retentions.default}
    return _packed(own) if own else b""


class _Superseded(Exception):
    """Another walk has begun, or the backend has stopped."""


class RetentionWalk:
    """Walks over all channels, one call at a time. A call that Redis refuses is repeated."""

    log = Logger()

    def __init__(self, commands: CommandRunner, reader: Reader, retentions: Retentions, clock: Any) -> None:
        self._commands = commands
        self._reader = reader
        self._retentions = retentions
        self._clock = clock
        self._age = round(retentions.bounds.age * 1000)
        self._walks = 0
        """The number of walks so far: a new one ends the one before."""
        self._pause: Deferred[None] | None = None

    def start(self) -> None:
        """Walk, unless the rules are those that were applied last."""
        self._begin(self._walk_if_changed)

    def reconfigure(self, retentions: Retentions) -> None:
        """Apply other rules."""
        self._retentions = retentions
        self._begin(self._walk)

    def stop(self) -> None:
        """Stop walking."""
        self._walks += 1
        if self._pause is not None:
            self._pause.cancel()

    def _begin(self, walk: Callable[[int], Awaitable[None]]) -> None:
        self.stop()

        async def run() -> None:
            with suppress(_Superseded, CancelledError):
                await walk(self._walks)

        Deferred.fromCoroutine(run()).addErrback(
            lambda failure: self.log.failure("Applying the rules for channels failed by an internal error", failure)
        )

    async def _walk_if_changed(self, walk: int) -> None:
        stored, _ = await self._apply(walk, {})
        is_default = len(self._retentions.table) == 1
        if stored != _digest(self._retentions) and (stored or not is_default):
            await self._walk(walk)

    async def _walk(self, walk: int) -> None:
        after = ""
        while names := await self._call(walk, partial(self._reader.names, "", after, _CHANNELS)):
            left = names
            while left:
                _, left = await self._apply(walk, {name: self._retentions.of(name) for name in left})
            after = names[-1]
        await self._apply(walk, {}, _digest(self._retentions))

    async def _apply(self, walk: int, retentions: Mapping[str, Retention], digest: str = "") -> tuple[str, list[str]]:
        """Apply retentions by channel; return the digest that was stored, and the channels that are still too large."""
        arguments = self._age, _packed(retentions), _EVICTED, digest
        return _decode(await self._call(walk, lambda: self._commands.call(RETAIN, *arguments)))

    async def _call(self, walk: int, call: Callable[[], Awaitable[T]]) -> T:
        while True:
            if walk != self._walks:
                raise _Superseded
            try:
                return await call()
            except Refusal:
                if walk != self._walks:
                    raise _Superseded from None
                self._pause = deferLater(self._clock, _RETRY_SECONDS)
                await self._pause


def _digest(retentions: Retentions) -> str:
    """Return a digest of everything on which the retention of channels depends, except for the age of all channels."""
    return blake2b(repr((retentions.default, retentions.by_match)).encode(), digest_size=16).hexdigest()


def _packed(retentions: Mapping[str, Retention]) -> bytes:
    values: list[str | int] = []
    for name, each in retentions.items():
        values += [name, each.messages, each.bytes, 0 if each.age is None else round(each.age * 1000)]
    return _encode(values)
