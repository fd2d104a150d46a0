"""The lease of this node in Redis, on which everything hangs that the node owns there: quotas, presence.

Each node renews one lease every 3 s; it lasts for 10 s of the lease clock, which follows the time of Redis but stands
still while no node reaches Redis (see `lua/leases.lua`). What a node owns is registered under an *owner*: the id of the
node and its incarnation. A node gets a new incarnation, thus another owner, when its lease is over (it was frozen or
cut off) and when Redis was restarted, failed over or flushed, because the newest registrations may be lost then. It
registers everything again under the new owner, and then releases the old one. Whatever is registered under an owner
without a lease is dropped by any node, after its next renewal.

To hang something on leases:

1. Choose a kind, such as ``usage``, and write scripts in `lua/` that include the part ``leases``. A script that
   registers something for an owner returns at once unless ``is_held(owner)``, and calls ``note_owner(KIND, owner)``.
2. Write a script that drops what an owner has: ARGV 5 is the owner, 6 the most records to drop in one call. It does
   nothing if ``is_held(owner)``. It returns 1 while something is left, else calls ``forget_owner(KIND, owner)`` and
   returns 0. Whatever must not differ from the records, such as events, is published by this script too. Several nodes
   may call it at the same time, any number of times.
3. Implement `OwnedRecords`, and pass it to `NodeLease.add` in `RedisBackend.__init__`. The other backends have one
   node, and nothing to do.
4. Register under `NodeLease.owner`, as it is when the command is sent, and only what the node has in memory already: so
   what is sent under an old owner is also part of the next `restore`. A registration that Redis refuses, since its
   owner has no lease any more, needs no repeat for the same reason.

After a new incarnation both owners have leases until `restore` is complete. So a record of both is no change, and
`drop` of the old one must not report that it is gone.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

import msgspec
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.defer import TimeoutError as TooLate
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from txredisapi import RedisError

from pushd.backends.redis.command_runner import CommandRunner
from pushd.backends.redis.limited_log import LimitedLog
from pushd.backends.redis.protocols import CommandProtocol
from pushd.backends.redis.scripts import LEASE, RELEASE, Script
from pushd.core.errors import Refusal

LEASE_SECONDS: Final = 10.0
_RENEWED: Final = 0.3
"""The part of its term after which a lease is renewed."""
_DROPPED: Final = 500
"""Records that are dropped in one call: a few milliseconds."""
_RELEASE_SECONDS: Final = 1.0
"""The most seconds in which a node that stops drops what it owned; other nodes drop the rest."""


class OwnedRecords(Protocol):
    """Records of one kind that nodes own in Redis."""

    kind: str
    """The name of the kind, part of keys."""
    drop: Script
    """Drops records of an owner; see the module."""

    async def restore(self, owner: str) -> None:
        """Register all records of this node under a new owner.

        :raises RedisError, Refusal: when that fails now; it is called again.
        """


class _Renewal(msgspec.Struct, array_like=True):
    """The reply to a renewal."""

    owner: str
    generation: str
    over: list[str]
    """What is to be dropped: kinds and owners in turn."""


_decode = msgspec.msgpack.Decoder(_Renewal).decode


class NodeLease:
    """Holds the lease of this node, and drops what nodes without a lease owned.

    :param node: the id of the node, of this process.
    :param seconds: the term of a lease. All nodes need the same.
    """

    log = Logger()

    def __init__(self, commands: CommandRunner, node: str, seconds: float, clock: Any) -> None:
        self.owner = ""
        """Under which this node registers what it owns; empty before the first lease."""
        self._commands = commands
        self._node = node
        self._term = round(seconds * 1000)
        self._clock = clock
        self._owned: dict[str, OwnedRecords] = {}
        self._generation = ""
        self._restored = ""
        """The owner under which everything is registered."""
        self._former: list[str] = []
        """Owners that this node was before, which it has not released yet."""
        self._over: list[str] = []
        self._lock = DeferredLock()
        self._is_settling = self._is_stopping = False
        self._limited_log = LimitedLog(self.log, clock)
        self._loop = LoopingCall(self.renew_soon)
        self._loop.clock = clock

    def add(self, *kinds: OwnedRecords) -> None:
        """Add records that this node owns. Called before the start."""
        self._owned |= {owned.kind: owned for owned in kinds}

    def start(self) -> None:
        """Start to renew the lease."""
        starting = self._loop.start(self._term / 1000 * _RENEWED, now=False)
        starting.addErrback(lambda failure: self.log.failure("Redis: leases stopped by an internal error", failure))

    async def stop(self) -> None:
        """Release the lease, and drop what this node owned."""
        self._is_stopping = True
        if self._loop.running:
            self._loop.stop()
        if self.owner and self._commands.link.protocol is not None:
            releasing = Deferred.fromCoroutine(self._release_all(self._commands.link.protocol))
            with suppress(RedisError, Refusal, TooLate):
                await releasing.addTimeout(_RELEASE_SECONDS, self._clock)

    async def prepare(self, protocol: CommandProtocol) -> None:
        """Renew the lease over a new connection, before anything is registered over it.

        A failure does not prevent the connection: the next renewal makes up for it.
        """
        try:
            await self._renew(protocol)
        except Refusal as refusal:
            self._limited_log.warn("Redis: the lease of this node cannot be renewed now: {why}", why=str(refusal))

    def settle(self) -> None:
        """Do in the background what follows from the last renewal: restore, release and drop."""
        is_settled = self._restored == self.owner and not self._former and not self._over
        if not (is_settled or self._is_settling or self._is_stopping):
            self._is_settling = True
            Deferred.fromCoroutine(self._settle()).addErrback(self._on_failure)

    async def renew(self) -> None:
        """Renew the lease now, as after Redis has refused a registration because the lease is over.

        :raises RedisError, Refusal: when it cannot be renewed.
        """
        if self._commands.link.protocol is not None and not self._is_stopping:
            await self._renew(self._commands.link.protocol)
            self.settle()

    def renew_soon(self) -> None:
        """Renew the lease in the background."""
        Deferred.fromCoroutine(self.renew()).addErrback(self._on_failure)

    async def _renew(self, protocol: CommandProtocol) -> None:
        """Renew the lease. Concurrent calls would make two incarnations."""
        await self._lock.acquire()
        try:
            words = (self._node, self.owner, self._generation, self._term, *self._owned)
            renewal = _decode(await self._commands.call_over(protocol, LEASE, *words))
        finally:
            self._lock.release()
        self._generation, self._over = renewal.generation, renewal.over
        if renewal.owner != self.owner:
            if self.owner:
                self._former.append(self.owner)
                self.log.warn("Redis was restarted, or the lease of this node has ended: registering anew what it owns")
            self.owner = renewal.owner

    async def _settle(self) -> None:
        try:
            while self._restored != self.owner:  # it may change meanwhile
                owner = self.owner
                for owned in self._owned.values():
                    await owned.restore(owner)
                self._restored = owner
            while self._former:
                await self._release(self._former[0])
                self._former.pop(0)
            over, self._over = self._over, []
            for kind, owner in _pairs(over):
                await self._drop(kind, owner)
        finally:
            self._is_settling = False

    async def _release_all(self, protocol: CommandProtocol) -> None:
        await self._commands.call_over(protocol, RELEASE, self.owner)
        for kind in self._owned:
            await self._drop(kind, self.owner)

    async def _release(self, owner: str) -> None:
        await self._commands.call(RELEASE, owner)
        for kind in self._owned:
            await self._drop(kind, owner)

    async def _drop(self, kind: str, owner: str) -> None:
        while await self._commands.call(self._owned[kind].drop, owner, _DROPPED):
            pass

    def _on_failure(self, failure: Failure) -> None:
        if failure.check(RedisError, Refusal):
            self._limited_log.warn(
                "Redis: the lease of this node cannot be renewed now: {why}", why=failure.getErrorMessage()
            )
        else:
            self.log.failure("Redis: the lease of this node failed by an internal error; trying again", failure)


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    return zip(words[::2], words[1::2], strict=True)
