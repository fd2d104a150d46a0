"""The records of dialects in Redis: one node owns each."""

import pytest_twisted

from pushd.backends.records import OwnedRecord
from tests.backends.redis_server import RedisServer
from tests.daemon_fixtures import Start
from tests.transports.daemon import until_ready


@pytest_twisted.async_fixture
async def nodes(start_daemon: Start, one_redis: RedisServer):
    """The records at two nodes, each with the id of its node."""
    one_redis.ask("FLUSHALL")
    daemons = [await start_daemon({"backend.url": one_redis.url}) for _ in range(2)]
    for daemon in daemons:
        await until_ready(daemon)
    return [(daemon._service.hub.records, daemon._service.hub.node) for daemon in daemons]


@pytest_twisted.ensureDeferred
async def test_record_is_saved_by_its_owner_only(nodes):
    (one, first), (two, second) = nodes
    assert await one.take("k", 60) is None
    assert await one.save("k", b"1", 60)
    assert not await two.save("k", b"2", 60)
    assert await two.read("k") == OwnedRecord(first, b"1")
    assert await two.take("k", 60) == OwnedRecord(first, b"1")
    assert not await one.save("k", b"3", 60)
    assert await two.save("k", b"\xff\x00", 60)
    assert await one.read("k") == OwnedRecord(second, b"\xff\x00")
    await one.delete("k")
    assert await two.read("k") is None


@pytest_twisted.ensureDeferred
async def test_record_expires(nodes, one_redis):
    (one, _), _ = nodes
    await one.save("k", b"1", 30)
    (key,) = one_redis.ask("KEYS", "*:r:k")
    assert 0 < int(one_redis.ask("PTTL", key)) <= 30_000
    await one.take("k", 90)
    assert 30_000 < int(one_redis.ask("PTTL", key)) <= 90_000
