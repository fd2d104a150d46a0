"""Fills the memory of a node with its history elsewhere, and prints what is counted and what is resident.

`python -m tests.system.node_memory_scenarios BACKEND NAME` prints two numbers of bytes, in a process of its own. Only
what the node itself holds is counted, so not the messages of the history.
"""

import gc
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from pushd.backends.redis.address import parse_url
from pushd.backends.redis.backend import RedisBackend, RedisOptions
from pushd.backends.sqlite.backend import SqliteBackend
from pushd.core.budget import Budget
from pushd.core.history import Bounds
from pushd.core.message import draft
from pushd.core.outbox import QueueLimits
from pushd.core.peer import DAEMON
from pushd.hub.hub import Hub
from pushd.metrics import Counters
from tests.backends.redis_server import RedisServer, until
from tests.build import FakePeer
from tests.system.memory_scenarios import CHANNELS, MIB, TOPICS, resident

_BATCH = 500


class _Node:
    """A hub with a backend, and the figures."""

    def __init__(self, backend: Any, clock: Any) -> None:
        self.backend = backend
        self.clock = clock
        self.hub = Hub(backend, clock, Counters(), budget=Budget(256 * MIB, clock.seconds))
        gc.collect()
        self._before = resident()

    async def publish(self, names: str, rounds: int = 1, channels: int = CHANNELS) -> None:
        """Publish a message of one byte to each of some channels, some times."""
        for number in range(0, channels * rounds, _BATCH):
            await self.backend.publish(
                [draft(f"{names}/{each % channels:06}", b"x") for each in range(number, number + _BATCH)]
            )

    async def delete(self, names: str) -> None:
        """Delete those channels."""
        for number in range(0, CHANNELS, _BATCH):
            deleting = [self.hub.delete(DAEMON, f"{names}/{each:06}") for each in range(number, number + _BATCH)]
            await gatherResults([Deferred.fromCoroutine(each) for each in deleting])

    async def subscribe(self, *topics: str) -> None:
        """Add a subscriber."""
        peer = FakePeer(limits=QueueLimits(budget=self.hub.budget))
        self.hub.add(peer.subscriber)
        for first in range(0, len(topics), 1000):
            opening = await self.hub.subscribe(peer.subscriber, topics[first : first + 1000])
            await self.hub.replay_and_go_live(peer.subscriber, opening)

    async def print_figures(self) -> None:
        """Print the bytes that are counted, and those that became resident."""
        gc.collect()
        counted = ((await self.backend.usage()).record_bytes or 0) + self.hub.budget.used
        print(counted, resident() - self._before)


Scenario = Callable[[_Node], Awaitable[None]]


async def one_message_per_channel(node: _Node) -> None:
    """Publish to as many channels as are allowed."""
    await node.publish("channel")


async def deleted_channels(node: _Node) -> None:
    """Publish to as many channels as are allowed, and delete them."""
    await node.publish("channel")
    await node.delete("channel")


async def other_channels_after_deleted_ones(node: _Node) -> None:
    """Publish to as many channels as are allowed, delete them, and publish to as many others."""
    await node.publish("channel")
    await node.delete("channel")
    await node.publish("other")


async def some_messages_per_channel(node: _Node) -> None:
    """Publish to half as many channels as are allowed, some messages to each."""
    await node.publish("channel", rounds=6, channels=CHANNELS // 2)


async def topics(node: _Node) -> None:
    """Subscribe 20 connections to as many topics as each may have."""
    for peer in range(20):
        await node.subscribe(*[f"topic/{peer}/{number}" for number in range(TOPICS)])


async def patterns(node: _Node) -> None:
    """Subscribe 12 connections to as many patterns as each may have."""
    for peer in range(12):
        await node.subscribe(*[f"topic/{peer}/{number}/*" for number in range(TOPICS)])


async def deep_patterns(node: _Node) -> None:
    """Subscribe five connections to as many patterns as each may have, of 60 segments that differ."""
    random = Random(1)
    for _ in range(5):
        await node.subscribe(*["/".join(random.choices("abcdefgh*", k=60)) + "/*" for _ in range(TOPICS)])


SCENARIOS: dict[str, dict[str, Scenario]] = {
    "sqlite": {
        scenario.__name__: scenario
        for scenario in (
            one_message_per_channel,
            deleted_channels,
            other_channels_after_deleted_ones,
            some_messages_per_channel,
        )
    },
    "redis": {scenario.__name__: scenario for scenario in (topics, patterns, deep_patterns)},
}


async def _run(reactor: Any, kind: str, scenario: Scenario) -> None:
    with tempfile.TemporaryDirectory() as directory:
        server = RedisServer(Path(directory) / "redis").start() if kind == "redis" else None
        try:
            if server is None:
                backend: Any = SqliteBackend(directory, Bounds(), reactor, sync="normal")
            else:
                backend = RedisBackend(parse_url(server.url), RedisOptions(), Bounds(), reactor, time.time)
            node = _Node(backend, reactor)
            await node.hub.start()
            await until(lambda: node.hub.unavailable_reason is None, "the backend")
            await scenario(node)
            await node.print_figures()
            await node.hub.stop()
        finally:
            if server is not None:
                server.kill()


if __name__ == "__main__":
    chosen, name = sys.argv[1:]
    react(lambda reactor: Deferred.fromCoroutine(_run(reactor, chosen, SCENARIOS[chosen][name])))
