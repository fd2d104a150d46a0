"""Hooks in Redis: the contract, and nodes that stop, die and fail over."""

import time

import pytest
from twisted.internet.task import deferLater

from pushd.backends.interface import BackendEvents
from pushd.backends.redis.address import parse_url
from pushd.backends.redis.backend import RedisOptions
from tests.backends.backend_harness import Make, Wait
from tests.backends.contract_hooks import HooksContract
from tests.backends.redis_server import RedisServer
from tests.backends.test_redis import Hearing


class HearingDeadLetters(Hearing):
    """As `Hearing`, with dead letters."""

    async def start(self, listener: BackendEvents) -> None:
        """Listen to everything."""
        await super().start(listener)
        self.subscribe("$hooks/**")
        assert await self._subscriptions.ready(("$hooks/**",), 5)


class TestRedisHooks(HooksContract):
    """The contract of hooks, in Redis."""

    @pytest.fixture
    def make(self, redis: RedisServer) -> Make:
        """Return Redis backends, on an empty Redis."""
        from twisted.internet import reactor

        return lambda bounds, rules: HearingDeadLetters(
            parse_url(redis.url), RedisOptions(), bounds, reactor, time.time, rules
        )

    @pytest.fixture
    def wait(self) -> Wait:
        """Wait, by the clock of Redis."""
        from twisted.internet import reactor

        async def wait(seconds: float) -> None:
            await deferLater(reactor, seconds)

        return wait
