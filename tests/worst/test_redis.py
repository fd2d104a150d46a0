"""The most expensive requests to the Redis backend at the default limits."""

import re
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from pushd.backends.interface import BackendEvents
from pushd.backends.redis import reader
from pushd.backends.redis.address import parse_url
from pushd.backends.redis.backend import RedisBackend, RedisOptions
from pushd.backends.redis.scripts import ALL, LOSSES, MISSED, OPEN
from pushd.core.cursor import EVERYTHING, LATEST, NOW, Age, Last, MessageId, Since, Time
from pushd.core.history import Bounds
from pushd.core.message import draft
from tests.backends.redis_server import RedisServer, until
from tests.garbage import freeze
from tests.worst.history import CHANNELS, EPOCH, channel, costly_patterns, fill_redis
from tests.worst.turns import MAX_TURN_SECONDS, ReactorTurns

pytestmark = pytest.mark.slow

MAX_SCRIPT_SECONDS = 0.05
"""The maximum CPU time of one call in Redis, in seconds."""
MAX_BLOCKED_SECONDS = 2.5
"""The maximum time of one script, even on a busy machine: after five seconds Redis answers BUSY to others."""
OLD = MessageId(EPOCH, 0)
NAMES = ["no match", "all", "names"]
PATTERNS = costly_patterns()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis with a log at the limits."""
    options = ("--slowlog-log-slower-than", "0", "--slowlog-max-len", "100000")
    server = RedisServer(tmp_path_factory.mktemp("redis") / "one", *options).start()
    fill_redis(server, "pushd:")
    server.ask("CONFIG", "SET", "slowlog-log-slower-than", "2000")
    yield server
    server.kill()


@pytest_twisted.async_yield_fixture
async def backend(redis: RedisServer) -> AsyncIterator[RedisBackend]:
    """A node on that Redis."""
    from twisted.internet import reactor

    backend = RedisBackend(parse_url(redis.url), RedisOptions(), Bounds(messages=1), reactor, time.time)
    await backend.start(BackendEvents(lambda message: None, lambda channel: None, lambda reason: None))
    await until(lambda: backend._feed_link.protocol is not None, "the connection to Redis")
    for topic in PATTERNS:
        backend.subscribe(topic)
    assert await backend._subscriptions.ready(PATTERNS, 5)
    redis.ask("SLOWLOG", "RESET")
    redis.ask("CONFIG", "RESETSTAT")
    freeze()
    yield backend
    await backend.stop()


class Scripts:
    """Counts the calls of each script while the context is open, and the CPU time of Redis."""

    def __init__(self, redis: RedisServer, backend: RedisBackend) -> None:
        self.counts = dict.fromkeys((script.name for script in ALL), 0)
        self._redis = redis
        self._reader: Any = backend._reader

    def __enter__(self) -> "Scripts":
        self._call = self._reader._call
        self._reader._call = self._counted
        self._redis.ask("SLOWLOG", "RESET")
        self._began = self._cpu()
        return self

    def __exit__(self, *_: object) -> None:
        self._reader._call = self._call
        self.cpu_seconds = self._cpu() - self._began

    def assert_short(self) -> None:
        """Check that no script blocked Redis for long. All calls of a walk cost the same, so their mean counts."""
        calls = sum(self.counts.values())
        assert calls
        assert self.cpu_seconds / calls < MAX_SCRIPT_SECONDS
        entries = self._redis.ask("SLOWLOG", "GET", "-1")
        assert max((entry[2] for entry in entries), default=0) / 1e6 < MAX_BLOCKED_SECONDS
        assert b"BUSY" not in self._redis.ask("INFO", "errorstats")

    async def _counted(self, script: Any, *args: Any) -> Any:
        self.counts[script.name] += 1
        return await self._call(script, *args)

    def _cpu(self) -> float:
        facts = self._redis.ask("INFO", "cpu").decode()
        return sum(float(value) for value in re.findall(r"used_cpu_(?:user|sys)_main_thread:([0-9.]+)", facts))


WALK = -(-(CHANNELS - 200) // reader._WALKED)
"""The calls after the first one, if each channel is visited once."""


@pytest.mark.parametrize("since", [OLD, MessageId("Other", 5), EVERYTHING, Time(0.0), Age(1e9)], ids=str)
async def test_open_visits_each_channel_once_in_short_scripts(
    redis: RedisServer, backend: RedisBackend, since: Since
) -> None:
    with Scripts(redis, backend) as scripts, ReactorTurns() as turns:
        opening = await backend.open(PATTERNS, since)
    assert {gap.reason for gap in opening.gaps} <= {"epoch"}
    assert scripts.counts[LOSSES.name] == WALK
    scripts.assert_short()
    assert turns.longest < MAX_TURN_SECONDS


async def test_open_at_the_newest_position_visits_no_channel(redis: RedisServer, backend: RedisBackend) -> None:
    with Scripts(redis, backend) as scripts:
        await backend.open(PATTERNS, MessageId(EPOCH, 2 * CHANNELS))
        await backend.open(PATTERNS, NOW)
    assert scripts.counts[OPEN.name] == 2
    assert scripts.counts[LOSSES.name] == 0


async def test_page_reads_a_bounded_part_in_short_scripts(redis: RedisServer, backend: RedisBackend) -> None:
    position, complete, pages = MessageId(EPOCH, CHANNELS), False, 0
    with Scripts(redis, backend) as scripts, ReactorTurns() as turns:
        while not complete:
            page = await backend.page(PATTERNS, position, 256, 1 << 20)
            assert page.position.seq - position.seq <= 2001
            position, complete, pages = page.position, page.is_last, pages + 1
    assert pages >= CHANNELS // 2001
    assert scripts.counts[LOSSES.name] == 0
    scripts.assert_short()
    assert turns.longest < MAX_TURN_SECONDS


async def test_newest_messages_are_found_in_short_scripts(redis: RedisServer, backend: RedisBackend) -> None:
    with Scripts(redis, backend) as scripts, ReactorTurns() as turns:
        await backend.open(PATTERNS, Last(10))
    scripts.assert_short()
    assert turns.longest < MAX_TURN_SECONDS


@pytest.mark.parametrize("topics", [PATTERNS, ["w/**"], [channel(number) for number in range(1000)]], ids=NAMES)
async def test_the_newest_messages_of_channels_are_read_in_short_scripts(
    redis: RedisServer, backend: RedisBackend, topics: list[str]
) -> None:
    for topic in topics:
        backend.subscribe(topic)
    with Scripts(redis, backend) as scripts, ReactorTurns() as turns:
        opening = await backend.open(topics, LATEST)
        position, complete, count = opening.position, False, 0
        while not complete:
            page = await backend.page(topics, position, 256, 1 << 20, opening.latest_until)
            assert page.position.seq - position.seq <= CHANNELS + 2001
            position, complete, count = page.position, page.is_last, count + len(page.messages)
    assert count == (0 if topics == PATTERNS else CHANNELS if topics == ["w/**"] else 1000)
    assert scripts.counts[LOSSES.name] == 0
    scripts.assert_short()
    assert turns.longest < MAX_TURN_SECONDS


async def test_full_page_has_short_turns(backend: RedisBackend) -> None:
    from twisted.internet import reactor

    backend.subscribe("w/**")
    with ReactorTurns() as turns:
        page = await backend.page(("w/**",), MessageId(EPOCH, CHANNELS), 256, 1 << 20)
        for _ in range(3):
            await deferLater(reactor, 0)
    assert len(page.messages) == 256
    assert turns.longest < MAX_TURN_SECONDS


async def test_other_scripts_are_short(redis: RedisServer, backend: RedisBackend) -> None:
    with Scripts(redis, backend) as scripts, ReactorTurns() as turns:
        assert len(await backend.names("w/3/", "", 1000)) == 1000
        assert await backend.info(channel(7)) is not None
        await backend.usage()
        missed = await backend._reader.missed(MessageId(EPOCH, 0), 0)
        await backend.publish([draft(channel(5), b"x" * 10)])
        await backend.delete(channel(5))
    assert len(missed.rows) == 6000
    scripts.assert_short()
    assert turns.longest < MAX_TURN_SECONDS


async def test_missed_messages_are_read_in_short_turns(redis: RedisServer, backend: RedisBackend) -> None:
    backend._feed.lost()
    backend._feed.position = MessageId(EPOCH, CHANNELS - 1000)
    backend._feed._delivered.restart(CHANNELS - 1000)
    with Scripts(redis, backend) as scripts, ReactorTurns() as turns:
        await backend._feed.resync()
    assert scripts.counts[MISSED.name] > 10
    scripts.assert_short()
    assert turns.longest < MAX_TURN_SECONDS


async def test_long_walks_do_not_delay_short_requests(redis: RedisServer, backend: RedisBackend) -> None:
    done: list[str] = []

    def record(name: str, query: Any) -> "Deferred[Any]":
        return Deferred.fromCoroutine(query).addCallback(lambda _: done.append(name))

    with Scripts(redis, backend) as scripts, ReactorTurns() as turns:
        requests = [record("long", backend.open(PATTERNS, OLD)) for _ in range(4)]
        requests += [record("long", backend.page(PATTERNS, OLD, 256, 1 << 20)) for _ in range(4)]
        requests += [record("short", backend.info(channel(7))) for _ in range(20)]
        requests += [record("short", backend.publish([draft("new", b"x")])) for _ in range(20)]
        await gatherResults(requests)
    assert done.count("long") == 8
    assert done.index("long") >= done.count("short"), "a short request waited for a walk"
    scripts.assert_short()
    assert turns.longest < MAX_TURN_SECONDS
