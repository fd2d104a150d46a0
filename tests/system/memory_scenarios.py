"""Fills the memory of a hub up to a limit, and prints what is counted and what is resident.

`python -m tests.system.memory_scenarios NAME` prints two numbers of bytes, in a process of its own.
"""

import gc
import resource
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.task import Clock

from pushd.backends.memory import MemoryBackend
from pushd.core.budget import Budget
from pushd.core.history import Bounds
from pushd.core.message import draft
from pushd.core.outbox import Policy, QueueLimits
from pushd.core.peer import DAEMON
from pushd.hub.hub import Hub
from pushd.metrics import Counters
from tests.build import FakePeer

CHANNELS = 100_000
"""The default of `limits.channels`."""
TOPICS = 10_000
"""The default of `limits.subscriptions`."""
_PAGE = resource.getpagesize()
MIB = 1 << 20


class Filled:
    """A hub with a memory backend, and the figures."""

    def __init__(self, bounds: Bounds | None = None, budget: int = 256 * MIB) -> None:
        self.clock = Clock()
        self.backend = MemoryBackend(bounds or Bounds(), self.clock, self.clock.seconds)
        self.hub = Hub(self.backend, self.clock, Counters(), budget=Budget(budget, self.clock.seconds))
        gc.collect()
        self._before = resident()

    async def start(self) -> "Filled":
        """Start the hub."""
        await self.hub.start()
        return self

    async def publish(self, channel: str, data: bytes = b"x") -> None:
        """Publish a message, and deliver it."""
        await self.hub.publish(DAEMON, draft(channel, data))
        self.clock.advance(0)

    async def subscribe(self, *topics: str, policy: Policy = Policy.DISCONNECT) -> FakePeer:
        """Add a subscriber."""
        peer = FakePeer(limits=QueueLimits(budget=self.hub.budget), policy=policy)
        peer.on_close = self.hub.remove
        self.hub.add(peer.subscriber)
        for first in range(0, len(topics), 1000):
            opening = await self.hub.subscribe(peer.subscriber, topics[first : first + 1000])
            await self.hub.replay_and_go_live(peer.subscriber, opening)
        return peer

    async def figures(self) -> tuple[int, int]:
        """Return the bytes that are counted, and those that became resident."""
        gc.collect()
        usage = await self.backend.usage()
        counted = (usage.bytes or 0) + (usage.record_bytes or 0) + self.hub.budget.used
        return counted, resident() - self._before


def resident() -> int:
    """Return the bytes of this process that are resident."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE


async def one_message_per_channel() -> tuple[int, int]:
    """Publish to as many channels as are allowed."""
    filled = await Filled().start()
    for number in range(CHANNELS):
        await filled.publish(f"channel/{number:06}")
    return await filled.figures()


async def deleted_channels() -> tuple[int, int]:
    """Publish to as many channels as are allowed, and delete them."""
    filled = await Filled().start()
    for number in range(CHANNELS):
        await filled.publish(f"channel/{number:06}")
    for number in range(CHANNELS):
        await filled.hub.delete(DAEMON, f"channel/{number:06}")
    return await filled.figures()


async def channels_made_anew() -> tuple[int, int]:
    """Publish to as many channels as are allowed, delete them, and publish to them again."""
    filled = await Filled().start()
    for _ in range(2):
        for number in range(CHANNELS):
            await filled.publish(f"channel/{number:06}")
        for number in range(CHANNELS):
            await filled.hub.delete(DAEMON, f"channel/{number:06}")
    for number in range(CHANNELS):
        await filled.publish(f"channel/{number:06}")
    return await filled.figures()


async def other_channels_after_deleted_ones() -> tuple[int, int]:
    """Publish to as many channels as are allowed, delete them, and publish to as many others."""
    filled = await Filled().start()
    for number in range(CHANNELS):
        await filled.publish(f"channel/{number:06}")
    for number in range(CHANNELS):
        await filled.hub.delete(DAEMON, f"channel/{number:06}")
    for number in range(CHANNELS):
        await filled.publish(f"other/{number:06}")
    return await filled.figures()


async def short_messages() -> tuple[int, int]:
    """Fill the history with messages of one byte."""
    filled = await Filled(Bounds(total_bytes=64 * MIB)).start()
    for number in range(200_000):
        await filled.publish(f"channel/{number % 500}")
    return await filled.figures()


async def long_messages() -> tuple[int, int]:
    """Fill the history with messages of 4 KiB."""
    filled = await Filled(Bounds(total_bytes=64 * MIB)).start()
    for number in range(20_000):
        await filled.publish(f"channel/{number % 500}", b"x" * 4095 + b"%d" % (number % 10))
    return await filled.figures()


async def topics() -> tuple[int, int]:
    """Subscribe 20 connections to as many topics as each may have."""
    filled = await Filled().start()
    for peer in range(20):
        await filled.subscribe(*[f"topic/{peer}/{number}" for number in range(TOPICS)])
    return await filled.figures()


async def patterns() -> tuple[int, int]:
    """Subscribe 12 connections to as many patterns as each may have."""
    filled = await Filled().start()
    for peer in range(12):
        await filled.subscribe(*[f"topic/{peer}/{number}/*" for number in range(TOPICS)])
    return await filled.figures()


async def deep_patterns() -> tuple[int, int]:
    """Subscribe five connections to as many patterns as each may have, of 60 segments that differ."""
    filled = await Filled().start()
    random = Random(1)
    for _ in range(5):
        await filled.subscribe(*["/".join(random.choices("abcdefgh*", k=60)) + "/*" for _ in range(TOPICS)])
    return await filled.figures()


async def dropped_names() -> tuple[int, int]:
    """Publish to many channels while ten subscribers of all of them are stalled, with the policy `drop`."""
    filled = await Filled(Bounds(channels=1000, total_bytes=MIB)).start()
    for _ in range(10):
        (await filled.subscribe("**", policy=Policy.DROP)).subscriber.pause()
    for number in range(240_000):
        await filled.hub.delete(DAEMON, f"channel/{number - 900:06}") if number >= 900 else None
        await filled.publish(f"channel/{number:06}")
    return await filled.figures()


async def short_messages_in_queues() -> tuple[int, int]:
    """Fill the queues of 100 stalled subscribers, each of a channel of its own, with messages of one byte."""
    filled = await Filled(Bounds(messages=1)).start()
    for peer in range(100):
        (await filled.subscribe(f"channel/{peer}")).subscriber.pause()
        for _ in range(1000):
            await filled.publish(f"channel/{peer}")
    return await filled.figures()


async def long_messages_in_queues() -> tuple[int, int]:
    """Fill the queues of 60 stalled subscribers with messages of 16 KiB, which others have received."""
    filled = await Filled(Bounds(messages=1)).start()
    for peer in range(60):
        await filled.subscribe(f"channel/{peer}")
        (await filled.subscribe(f"channel/{peer}")).subscriber.pause()
        for number in range(60):
            await filled.publish(f"channel/{peer}", b"x" * ((16 << 10) - 1) + b"%d" % (number % 10))
    return await filled.figures()


SCENARIOS: dict[str, Callable[[], Coroutine[Any, Any, tuple[int, int]]]] = {
    scenario.__name__: scenario
    for scenario in (
        one_message_per_channel,
        deleted_channels,
        channels_made_anew,
        other_channels_after_deleted_ones,
        short_messages,
        long_messages,
        topics,
        patterns,
        deep_patterns,
        dropped_names,
        short_messages_in_queues,
        long_messages_in_queues,
    )
}


if __name__ == "__main__":
    coroutine = SCENARIOS[sys.argv[1]]()
    try:
        coroutine.send(None)
    except StopIteration as end:
        print(*end.value)
