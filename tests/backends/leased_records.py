"""Records that hang on the lease of a node: names. As a program, a node in a process of its own that owns some."""

import sys
from typing import Any

from twisted.internet.defer import Deferred

from pushd.backends.redis.backend import RedisBackend
from pushd.backends.redis.scripts import Script, compose
from tests.backends.nodes import Node
from tests.backends.redis_server import RedisServer

REGISTER = compose(
    "register",
    b"""if not is_held(ARGV[5]) then return 0 end
    redis.call('SADD', P .. 'test:' .. ARGV[5], unpack(ARGV, 6))
    note_owner('test', ARGV[5])
    return 1""",
    "leases",
)


class Names:
    """The names that a node owns."""

    kind = "test"
    drop: Script = compose(
        "drop",
        b"""if is_held(ARGV[5]) then return 0 end
        redis.call('SPOP', P .. 'test:' .. ARGV[5], ARGV[6])
        if redis.call('SCARD', P .. 'test:' .. ARGV[5]) > 0 then return 1 end
        forget_owner('test', ARGV[5])
        return 0""",
        "leases",
    )

    def __init__(self, backend: RedisBackend) -> None:
        self._backend = backend
        self.names: set[str] = set()
        self.owners: list[str] = []
        """The owners under which everything was registered."""

    async def restore(self, owner: str) -> None:
        """See `OwnedRecords`."""
        if self.names:
            await self._backend._commands.call(REGISTER, owner, *self.names)
        self.owners.append(owner)

    async def add(self, *names: str, owner: str | None = None) -> bool:
        """Register names, and return whether they were not refused."""
        self.names.update(names)
        owner = self._backend._lease.owner if owner is None else owner
        return bool(await self._backend._commands.call(REGISTER, owner, *names))


class Owner(Node):
    """A node with names."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self.names = Names(self.backend)
        self.backend._lease.add(self.names)

    @property
    def owner(self) -> str:
        """The present owner."""
        return self.backend._lease.owner

    def vanish(self) -> None:
        """Renew no more and release nothing, as a process that was killed or is frozen."""
        self.backend._lease._loop.stop()

    def return_(self) -> None:
        """Renew again, as a process that continues."""
        self.backend._lease.start()
        self.backend._lease.renew_soon()


def owners(redis: RedisServer) -> set[str]:
    """Return the owners with a lease."""
    return {each.decode() for each in redis.ask("ZRANGE", "pushd:leases", "0", "-1")}


def names(redis: RedisServer) -> list[str]:
    """Return the names of all owners, sorted."""
    found = []
    for key in redis.ask("KEYS", "pushd:test:*"):
        found += [each.decode() for each in redis.ask("SMEMBERS", key)]
    return sorted(found)


async def _run(url: str, seconds: str, *own: str) -> None:
    node = Owner(url, lease_seconds=float(seconds))
    node.names.names.update(own)
    await node.start()
    print("started", flush=True)


if __name__ == "__main__":
    from twisted.internet import reactor
    from twisted.internet.interfaces import IReactorCore

    Deferred.fromCoroutine(_run(*sys.argv[1:]))
    IReactorCore(reactor).run()
