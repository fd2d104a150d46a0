"""Whatever befalls Redis in whatever order: nothing is heard twice or out of order, or lost without a gap."""

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from twisted.internet.task import deferLater

from pushd.core.history import Bounds
from tests.backends.nodes import Node
from tests.backends.redis_server import RedisServer
from tests.backends.scene import Scene

pytestmark = pytest.mark.system

FAULTS = ("listening", "commands", "both", "restart", "pause", "scripts", "freeze", "drop")


FORGETFUL = (("--appendfsync", "no"), (*FAULTS, "flush", "flush"), {"evicted", "epoch", "unknown"})


@pytest.mark.parametrize(
    ("options", "faults", "reasons", "count"),
    [
        pytest.param(("--appendfsync", "always"), FAULTS, {"evicted"}, 8, id="durable"),
        pytest.param(*FORGETFUL, 8, id="forgetful"),
        pytest.param(*FORGETFUL, 80, id="forgetful for long", marks=pytest.mark.slow),
    ],
)
async def test_any_faults_one_after_the_other(
    own_redis: Callable[..., RedisServer],
    node: Callable[..., Awaitable[Node]],
    options: tuple[str, ...],
    faults: tuple[str, ...],
    reasons: set[str],
    count: int,
) -> None:
    """The faults are chosen by chance; the seed is printed where that fails."""
    from twisted.internet import reactor

    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    redis = own_redis("--appendonly", "yes", *options)
    bounds = Bounds(messages=chance.choice((50, 1000)))
    one, other, third = [await node(redis.url, bounds=bounds) for _ in range(3)]
    more = [await third.ear("**"), await third.ear("a", "*")]
    stage = await Scene([one, other]).begin()
    stage.ears += more
    for _ in range(count):
        with suppress(ConnectionError):
            await _befall(chance.choice(faults), redis, chance.choice((one, other, third)))
        await deferLater(reactor, chance.random() * 0.4)
    await third.until_well()
    await stage.end(gaps=True)
    assert {gap.reason for ear in stage.ears for gap in ear.gaps} <= reasons


async def _befall(fault: str, redis: RedisServer, node: Node) -> None:
    from twisted.internet import reactor

    if fault in ("listening", "both"):
        redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
    if fault in ("commands", "both"):
        redis.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    match fault:
        case "restart":
            redis.kill()
            redis.start()
        case "pause":
            redis.ask("CLIENT", "PAUSE", "200", "ALL")
        case "scripts":
            redis.ask("SCRIPT", "FLUSH")
        case "freeze":
            redis.freeze()
            await deferLater(reactor, 0.3)
            redis.thaw()
        case "flush":
            redis.ask("FLUSHALL")
        case "drop":
            node.backend._feed_link.drop("for a test")
