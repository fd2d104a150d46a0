"""The revocations in Redis, which all nodes know.

When a revocation is kept, its key is published, so that the other nodes read it at once; any client of Redis could
publish, so nothing but Redis itself says what is revoked. Each change gives the revocations a
new stamp, which heartbeats return: a node whose stamp is another one has missed a change, or Redis has lost some. Then
it reads them all, and restores those that Redis does not have.
"""

from collections.abc import Callable, Coroutine, Iterable, Sequence
from math import inf
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from txredisapi import RedisError

from pushd.backends.redis.command_runner import CommandRunner
from pushd.backends.redis.limited_log import LimitedLog
from pushd.backends.redis.protocols import CommandProtocol
from pushd.backends.redis.scripts import REVOKE, UNREVOKE
from pushd.core.errors import Refusal
from pushd.core.revocations import KINDS, Revocation

_SCANNED: Final = 1000
"""Revocations that are read at a time."""
_RESTORED: Final = 200
"""Revocations that are written at a time."""
_WAITED: Final = 1.0
"""Seconds for which a new connection waits until the revocations are read."""

_decode = msgspec.json.Decoder(list[str]).decode


class RedisRevocations:
    """Keeps revocations, and follows those of the other nodes.

    :param prefix: of all keys in Redis.
    :param wall: returns unix seconds.
    :param on_revocations: called with revocations that are kept.
    :param known: returns those that this node knows.
    """

    log = Logger()

    def __init__(
        self,
        commands: CommandRunner,
        prefix: bytes,
        clock: Any,
        wall: Callable[[], float],
        on_revocations: Callable[[Sequence[Revocation]], None],
        known: Callable[[], Iterable[Revocation]],
    ) -> None:
        self._commands = commands
        self._key = prefix + b"revocations"
        self._clock = clock
        self._wall = wall
        self._on_revocations = on_revocations
        self._known = known
        self._limited_log = LimitedLog(self.log, clock)
        self._stamp: str | None = None
        """The stamp up to which this node knows all; None while that is not known."""
        self._stamp_before: str | None = None
        """The stamp of this node at the heartbeat before."""
        self._confirmed = -inf
        """When this node last knew all."""
        self._is_syncing = False

    @property
    def age(self) -> float:
        """Seconds since this node last knew all revocations; infinite before the first time."""
        return float(self._clock.seconds() - self._confirmed)

    async def revoke(self, revocation: Revocation) -> None:
        """Keep a revocation.

        :raises Unavailable: when Redis is unavailable or accepts no writes.
        """
        self._advance(*await self._commands.call(REVOKE, *_words(revocation)))
        self._on_revocations((revocation,))

    def handle_message(self, raw: bytes) -> bool:
        """Handle a message about revocations; return whether it was one.

        :raises ValueError: when it is malformed.
        """
        if not raw.startswith(b"revoked "):
            return False
        head, _, body = raw.partition(b"\n")
        _, before, now = head.decode("ascii").split(" ")
        self._run(self._read_some(_decode(body), before, now))
        return True

    def on_heartbeat(self, stamp: str) -> None:
        """Called with the stamp in the reply to a heartbeat; read all revocations if this node has missed a change.

        The message about a change may arrive after the reply. So a stamp that has changed since the heartbeat before is
        followed by messages, and only one that stays behind has missed one.
        """
        before, self._stamp_before = self._stamp_before, self._stamp
        if self._is_syncing:
            return
        if self._stamp is not None and (stamp == self._stamp or before != self._stamp):
            self._confirmed = self._clock.seconds()
        elif self._commands.link.protocol is not None:
            self._run(self.sync(self._commands.link.protocol))

    async def sync_soon(self, protocol: CommandProtocol) -> None:
        """Read all revocations if their stamp has changed, as `sync`, and wait for that at most `_WAITED` seconds.

        Very many of them must not delay a new connection. Nor must a failure, which a heartbeat makes up for.
        """
        waiting: Deferred[None] = Deferred()

        def release(_: object) -> None:
            if not waiting.called:
                waiting.callback(None)

        Deferred.fromCoroutine(self.sync(protocol)).addErrback(self._on_failure).addBoth(release)
        await waiting.addTimeout(_WAITED, self._clock, lambda *_: None)

    async def sync(self, protocol: CommandProtocol) -> None:
        """Read all revocations if their stamp has changed, and restore those that Redis does not have.

        :raises RedisError, Refusal: when that fails.
        """
        if self._is_syncing:
            return
        self._is_syncing = True
        known, self._stamp = self._stamp, None
        try:
            stamp = ((await protocol.execute_command(b"HGET", self._key, b"stamp")) or b"").decode()
            if stamp != known:
                self._stamp = stamp
                await self._read_and_restore(protocol)
            else:
                self._stamp = stamp
            self._confirmed = self._clock.seconds()
        except BaseException:
            self._stamp = None
            raise
        finally:
            self._is_syncing = False

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a read whose failure makes up for itself: the stamp stays behind, so all are read after a heartbeat."""
        Deferred.fromCoroutine(work).addErrback(self._on_failure)

    def _on_failure(self, failure: Failure) -> None:
        if failure.check(RedisError, Refusal):
            self._limited_log.warn(
                "Redis: revocations cannot be read now: {error}; trying again", error=failure.getErrorMessage()
            )
        else:
            self.log.failure("Redis: revocations cannot be read because of an internal error", failure)

    async def _read_some(self, names: list[str], before: str, now: str) -> None:
        """Read the revocations of a change."""
        protocol = self._commands.link.protocol
        if protocol is None or not names:
            return
        keys = [name.encode() for name in names[:_RESTORED]]
        values = await protocol.execute_command(b"HMGET", self._key, *keys)
        rows = [_row(key, value) for key, value in zip(keys, values, strict=True) if value is not None]
        self._on_revocations([row for row in rows if row is not None])
        self._advance(before, now, 1)

    async def _read_and_restore(self, protocol: CommandProtocol) -> None:
        found = await self._read(protocol)
        known, restored = list(self._known()), 0
        for first in range(0, len(known), _SCANNED):
            missing = [each for each in known[first : first + _SCANNED] if found.get(each.key) != each]
            restored += len(missing)
            for start in range(0, len(missing), _RESTORED):
                words = [word for each in missing[start : start + _RESTORED] for word in _words(each)]
                self._advance(*await self._commands.call_over(protocol, REVOKE, *words))
            await deferLater(self._clock, 0)
        if restored:
            self.log.warn("Redis had lost {count} revocations: restored", count=restored)

    async def _read(self, protocol: CommandProtocol) -> dict[tuple[str, str], Revocation]:
        """Read all revocations, and remove those that have expired from Redis."""
        found: dict[tuple[str, str], Revocation] = {}
        cursor = b"0"
        while True:
            cursor, words = await protocol.execute_command(b"HSCAN", self._key, cursor, b"COUNT", _SCANNED)
            rows = [_row(name, value) for name, value in zip(words[::2], words[1::2], strict=True) if name != b"stamp"]
            some = [row for row in rows if row is not None]
            found.update({each.key: each for each in some})
            self._on_revocations(some)
            expired = [_name(each) for each in some if each.until <= self._wall()]
            if expired:
                await self._commands.call_over(protocol, UNREVOKE, *expired)
            if cursor == b"0":
                return found

    def _advance(self, before: str | bytes, now: str | bytes, _: int) -> None:
        """Called with the stamps before and after a change that this node knows."""
        before, now = (stamp.decode() if isinstance(stamp, bytes) else stamp for stamp in (before, now))
        if self._stamp == before:
            self._stamp = now


def _name(revocation: Revocation) -> bytes:
    return f"{revocation.kind}:{revocation.value}".encode()


def _words(revocation: Revocation) -> tuple[bytes, bytes]:
    """Return the name of a revocation and its value; see revoke.lua."""
    numbers = f"{revocation.before} {revocation.until} {revocation.created}"
    return _name(revocation), f"{numbers} {revocation.reason}".encode()


def _revocation(name: str, value: str) -> Revocation:
    """Return the revocation of a name and a value.

    :raises ValueError: when they are of none.
    """
    kind, _, named = name.partition(":")
    before, until, created, reason = value.split(" ", 3)
    if kind not in KINDS:
        raise ValueError(f"unknown kind of revocation: {kind}")
    return Revocation(kind, named, int(before), int(until), int(created), reason)


def _row(name: bytes, value: bytes) -> Revocation | None:
    """Return the revocation of a row of the hash; None if it is none."""
    try:
        return _revocation(name.decode(), value.decode())
    except ValueError:
        return None
