"""Signed URLs that were used, over several nodes on one Redis."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pushd.core.errors import Unavailable
from tests.backends.nodes import Node
from tests.backends.redis_server import RedisServer

Start = Callable[..., Coroutine[Any, Any, Node]]
DIGEST = bytes(range(250, 256)) + bytes(10)
LATER = 4_000_000_000.0
"""Unix seconds, in the year 2096."""


async def test_use_at_one_node_is_known_at_the_others(redis: RedisServer, node: Start) -> None:
    one, other = await node(redis.url), await node(redis.url)
    await one.backend.remember_url(DIGEST, LATER)
    assert await other.backend.is_url_remembered(DIGEST)
    apart = await node(redis.url, prefix="other:")
    assert not await apart.backend.is_url_remembered(DIGEST)


@pytest.mark.parametrize("command", [("FLUSHALL",), ("DEL", "pushd:log")])
async def test_use_is_forgotten_with_the_epoch(redis: RedisServer, node: Start, command: tuple[str, ...]) -> None:
    one, other = await node(redis.url), await node(redis.url)
    await one.backend.remember_url(DIGEST, LATER)
    redis.ask(*command)
    assert not await one.backend.is_url_remembered(DIGEST)
    await one.backend.remember_url(DIGEST, LATER)
    assert await other.backend.is_url_remembered(DIGEST)


async def test_key_of_the_urls_expires_with_the_last_of_them(redis: RedisServer, node: Start) -> None:
    one = await node(redis.url)
    for number in (2, 1):
        await one.backend.remember_url(bytes([number]) * 16, LATER + number)
    (key,) = redis.ask("KEYS", "pushd:*:urls")
    assert abs(int(redis.ask("PTTL", key)) / 1000 + one.backend._wall() - LATER - 2) < 5


async def test_unavailable_redis_is_a_refusal(own_redis: Callable[..., RedisServer], node: Start) -> None:
    redis = own_redis()
    one = await node(redis.url, publish_timeout=0.2)
    redis.kill()
    with pytest.raises(Unavailable):
        await one.backend.is_url_remembered(DIGEST)
    with pytest.raises(Unavailable):
        await one.backend.remember_url(DIGEST, LATER)
