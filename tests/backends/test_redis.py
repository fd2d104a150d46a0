"""The store in Redis keeps what every store promises."""

import time
from collections.abc import Sequence
from typing import ClassVar

import pytest

from pushd.backends.interface import BackendEvents, PublishResult
from pushd.backends.redis.address import parse_url
from pushd.backends.redis.backend import RedisBackend, RedisOptions
from pushd.core.channel_rules import ChannelRules
from pushd.core.history import Bounds
from pushd.core.idempotency import IdempotencyKey
from pushd.core.message import Draft, Message
from tests.backends.backend_harness import Make, Wait
from tests.backends.changed_scripts import ADVANCED, advance, change_scripts
from tests.backends.contract import BackendContract
from tests.backends.redis_server import RedisServer, until


class Hearing(RedisBackend):
    """A store in Redis that waits with an answer until it has heard the message itself.

    What comes over Redis comes when it comes; the contract wants it told with the answer.
    """

    async def start(self, listener: BackendEvents) -> None:
        """Listen to everything."""
        self.seen: set[int] = set()

        def hear(message: Message) -> None:
            listener.on_message(message)
            self.seen.add(message.seq)

        self.deleted = 0

        def forgotten(channel: str) -> None:
            listener.on_deleted(channel)
            self.deleted += 1

        await super().start(listener._replace(on_message=hear, on_deleted=forgotten))
        change_scripts(self, ADVANCED)
        for pattern in ("**", "$sys/**"):
            self.subscribe(pattern)
        await until(lambda: self._feed_link.protocol is not None, "the connection to Redis")
        assert await self._subscriptions.ready(("**", "$sys/**"), 5)

    async def publish(self, drafts: Sequence[Draft], key: IdempotencyKey | None = None) -> Sequence[PublishResult]:
        """Publish, and hear it."""
        told = await super().publish(drafts, key)
        await until(lambda: all(each.seq in self.seen for each in told if isinstance(each, Message)), "the messages")
        return told

    async def forget(self, channel: str) -> bool:
        """Delete a channel, and hear it."""
        before = self.deleted
        known = await super().delete(channel)
        await until(lambda: self.deleted > before or not known, "the deletion")
        return known

    async def catch_up(self) -> None:
        """Do what is done from time to time, after the clock of scripts was set forward."""
        await self._heartbeat._send()
        await self.presence._sweep()


class HearingContract:
    """Fixtures for a contract that Redis keeps."""

    hearing: ClassVar[type[Hearing]] = Hearing

    @pytest.fixture
    def made(self) -> list[Hearing]:
        """The backends of a test."""
        return []

    @pytest.fixture
    def make(self, redis: RedisServer, made: list[Hearing]) -> Make:
        """Return backends in one Redis, each with a prefix of its own."""
        from twisted.internet import reactor

        def make(bounds: Bounds, rules: ChannelRules) -> RedisBackend:
            options = RedisOptions(prefix=f"pushd{len(made)}:")
            made.append(self.hearing(parse_url(redis.url), options, bounds, reactor, time.time, rules))
            return made[-1]

        return make

    @pytest.fixture
    def wait(self, redis: RedisServer, made: list[Hearing]) -> Wait:
        """Set the clock of scripts forward, so that a test may take any time."""

        async def wait(seconds: float) -> None:
            advance(redis, seconds)
            for backend in made:
                await backend.catch_up()

        return wait


class TestRedis(HearingContract, BackendContract):
    """All that every store promises, in Redis."""

    counts_kept_of_patterns = False
