"""The daemons under test, over each backend, and the faults that are injected."""

import asyncio
import os
import random
import re
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tests.backends.redis_server import RedisServer
from tests.backends.sentinels import Watched
from tests.daemon.real import Daemon
from tests.model.record import Record
from tests.soak.transports import Ports

Injection = Callable[[], Awaitable[None]]

_HEALTHY_SECONDS = 30.0
_STOP_SECONDS = 20.0
"""A daemon that stops gives its clients some seconds to read what was sent."""
_FAILOVER_SECONDS = 90.0
"""How long a failover may take: Sentinel does nothing for 30 s, its TILT mode, after it did not run for 2 s."""
_TROUBLE = re.compile(r"Traceback|Unhandled")


class Node:
    """A daemon that is stopped and started again."""

    def __init__(self, name: str, home: Path, options: Sequence[str], record: Record) -> None:
        self.name = name
        self._home = home
        self._options = options
        self._record = record
        self._daemon: Daemon | None = None
        home.mkdir(parents=True, exist_ok=True)

    @property
    def ports(self) -> Ports | None:
        """Its ports; None while it is stopped."""
        daemon = self._daemon
        return None if daemon is None else Ports(daemon.http_port, daemon.tcp_port)

    async def start(self) -> None:
        """Start the daemon."""
        self._daemon = await asyncio.to_thread(Daemon, self._home, *self._options)
        self._record.note(f"{self.name} has started")

    async def stop(self, *, kill: bool = False) -> None:
        """Stop the daemon: it ends its connections, or is killed."""
        daemon, self._daemon = self._daemon, None
        if daemon is None:
            return
        self._record.restart(f"{self.name} is {'killed' if kill else 'stopped'}")
        if kill:
            await asyncio.to_thread(daemon.kill)
        else:
            assert await asyncio.to_thread(daemon.stop, _STOP_SECONDS), f"{self.name} did not stop"
        if found := _TROUBLE.search(log := daemon.log):
            self._record.fault(f"the log of {self.name} has an error: {log[found.start() :][:2000]}")

    async def freeze(self, seconds: float) -> None:
        """Suspend the process for some time."""
        if self._daemon is None:
            return
        pid = self._daemon.pid
        self._record.note(f"{self.name} is frozen for {seconds:.2f} s")
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(seconds)
            finally:
                os.kill(pid, signal.SIGCONT)

    async def until_healthy(self) -> None:
        """Wait until publishes are accepted."""
        daemon = self._daemon
        assert daemon is not None
        async with asyncio.timeout(_HEALTHY_SECONDS):
            while (await asyncio.to_thread(daemon.request, "GET", "/health/ready")).status != 200:
                await asyncio.sleep(0.05)


class Backend:
    """Daemons that share a history.

    :ivar nodes: the daemons.
    :ivar faults: the faults that are injected, by name.
    """

    def __init__(self, home: Path, options: Sequence[str], record: Record, rng: random.Random) -> None:
        self.nodes: list[Node] = []
        self.faults: dict[str, Injection] = {}
        self._home = home
        self._options = options
        self._record = record
        self._rng = rng

    async def start(self) -> None:
        """Start all."""
        for node in self.nodes:
            await node.start()
        for node in self.nodes:
            await node.until_healthy()

    async def stop(self) -> None:
        """Stop all."""
        for node in self.nodes:
            await node.stop()

    async def inject_fault(self) -> None:
        """Inject a random fault."""
        name = self._rng.choice(list(self.faults))
        self._record.note(f"fault: {name}")
        self._record.counts[f"fault {name}"] += 1
        await self.faults[name]()

    async def heal(self) -> None:
        """Start what is stopped, and wait until publishes are accepted."""
        for node in self.nodes:
            if node.ports is None:
                await node.start()
            await node.until_healthy()

    def _add_node(self, name: str, *options: str) -> Node:
        node = Node(name, self._home / name, (*options, *self._options), self._record)
        self.nodes.append(node)
        return node

    async def _freeze_node(self) -> None:
        await self._rng.choice(self.nodes).freeze(self._rng.uniform(0.05, 1.0))

    async def _restart_node(self, *, kill: bool) -> None:
        node = self._rng.choice(self.nodes)
        await node.stop(kill=kill)
        await asyncio.sleep(self._rng.uniform(0, 0.3))
        await node.start()


class Memory(Backend):
    """One daemon with its history in memory: each restart begins an epoch."""

    def __init__(self, home: Path, options: Sequence[str], record: Record, rng: random.Random) -> None:
        super().__init__(home, options, record, rng)
        self._add_node("daemon")
        self.faults = {
            "freeze": self._freeze_node,
            "kill": lambda: self._lose(kill=True),
            "restart": lambda: self._lose(kill=False),
            "nothing": lambda: asyncio.sleep(0.5),
        }

    async def _lose(self, *, kill: bool) -> None:
        loss = self._record.lose("epoch", "the history is in memory")
        await self._restart_node(kill=kill)
        loss.finished = self._record.tick()


class Sqlite(Backend):
    """One daemon with its history in a file, which survives every restart."""

    def __init__(self, home: Path, options: Sequence[str], record: Record, rng: random.Random) -> None:
        super().__init__(home, options, record, rng)
        sync = rng.choice(("normal", "full"))
        self._add_node("daemon", "--data-dir", str(home / "data"), "--backend-sync", sync)
        self.faults = {
            "freeze": self._freeze_node,
            "kill": lambda: self._restart_node(kill=True),
            "kill again": self._kill_twice,
            "restart": lambda: self._restart_node(kill=False),
        }

    async def _kill_twice(self) -> None:
        await self._restart_node(kill=True)
        await asyncio.sleep(self._rng.uniform(0, 0.1))
        await self._restart_node(kill=True)


class Redis(Backend):
    """Two daemons that share a Redis.

    In some rounds it may lose its newest data when it is killed, or is flushed.
    """

    def __init__(self, home: Path, options: Sequence[str], record: Record, rng: random.Random) -> None:
        super().__init__(home, options, record, rng)
        # With "everysec" a write may be postponed until after its answer, while the previous one is synchronized.
        self._is_durable = rng.random() < 0.6
        sync = "always" if self._is_durable else "everysec"
        self._redis = RedisServer(home / "redis", "--appendonly", "yes", "--appendfsync", sync)
        self.faults = {
            "freeze node": self._freeze_node,
            "kill node": lambda: self._restart_node(kill=True),
            "restart node": lambda: self._restart_node(kill=False),
            "restart Redis": self._restart_redis,
            "freeze Redis": self._freeze_redis,
            "cut subscriptions": lambda: self._ask("CLIENT", "KILL", "TYPE", "pubsub"),
            "cut commands": lambda: self._ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"),
            "pause": lambda: self._ask("CLIENT", "PAUSE", "300", "ALL"),
            "forget scripts": lambda: self._ask("SCRIPT", "FLUSH"),
        }
        if rng.random() < 0.4:
            self.faults["flush"] = self._flush

    async def start(self) -> None:
        """Start Redis and both daemons."""
        await asyncio.to_thread(self._redis.start)
        for number in range(2):
            self._add_node(f"node{number}", "--redis", self._redis.url, "--backend-publish-timeout", "2s")
        await super().start()

    async def stop(self) -> None:
        """Stop the daemons and Redis."""
        await super().stop()
        self._redis.kill()

    async def _ask(self, *words: str) -> None:
        with suppress(OSError):
            await asyncio.to_thread(self._redis.ask, *words)

    async def _restart_redis(self) -> None:
        loss = None if self._is_durable else self._record.lose("unknown", "Redis is killed")
        self._redis.kill()
        await asyncio.sleep(self._rng.choice((0.0, 0.5, 3.0)) * self._rng.random())
        await asyncio.to_thread(self._redis.start)
        if loss is not None:
            loss.finished = self._record.tick()

    async def _freeze_redis(self) -> None:
        self._redis.freeze()
        try:
            await asyncio.sleep(self._rng.choice((0.3, 3.0)) * self._rng.random())
        finally:
            self._redis.thaw()

    async def _flush(self) -> None:
        loss = self._record.lose("epoch", "Redis is flushed")
        await self._ask("FLUSHALL")
        loss.finished = self._record.tick()


class Sentinel(Backend):
    """Two daemons that share a Redis with a replica, which becomes the master when the Redis is frozen or killed."""

    def __init__(self, home: Path, options: Sequence[str], record: Record, rng: random.Random) -> None:
        super().__init__(home, options, record, rng)
        self._watched: Watched | None = None
        self._has_failed_over = False
        self.faults = {
            "freeze node": self._freeze_node,
            "failover": self._fail_over,
            "nothing": lambda: asyncio.sleep(0.5),
        }

    async def start(self) -> None:
        """Start Redis, its replica, the Sentinels and both daemons."""
        self._watched = await asyncio.to_thread(Watched, self._home / "redis")
        async with asyncio.timeout(_HEALTHY_SECONDS):
            while not await asyncio.to_thread(self._watched.is_ready):
                await asyncio.sleep(0.05)
        for number in range(2):
            self._add_node(f"node{number}", "--redis", self._watched.url, "--backend-publish-timeout", "2s")
        await super().start()

    async def stop(self) -> None:
        """Stop all."""
        await super().stop()
        if self._watched is not None:
            self._watched.kill()

    async def _fail_over(self) -> None:
        """Kill the master; the replica may lack its newest writes, or all of them in the first moments of a round."""
        if self._has_failed_over or self._watched is None:
            return
        self._has_failed_over = True
        loss = self._record.lose("epoch", "the master is killed")
        self._watched.master.kill()
        async with asyncio.timeout(_FAILOVER_SECONDS):
            while not await asyncio.to_thread(self._watched.is_failed_over):
                await asyncio.sleep(0.05)
        loss.finished = self._record.tick()


BACKENDS: dict[str, type[Backend]] = {"memory": Memory, "sqlite": Sqlite, "redis": Redis, "sentinel": Sentinel}
