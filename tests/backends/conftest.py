"""Fixtures of the backend tests: clocks, harnesses, and Redis servers."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from pushd.core.channel_rules import ChannelRule, ChannelRules
from pushd.core.history import Bounds
from tests.backends.backend_harness import BackendHarness, Make, ManualClock, Wait
from tests.backends.nodes import Node
from tests.backends.patience import wait_for_nodes
from tests.backends.redis_server import RedisServer
from tests.backends.sqlite_harness import SqliteHarness

Start = Callable[..., Awaitable[BackendHarness]]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Make nodes wait for a slow Redis and for other nodes, unless the test stops its own Redis."""
    if "own_redis" not in request.fixturenames:
        wait_for_nodes(monkeypatch)


@pytest.fixture
def clock() -> ManualClock:
    """The monotonic and wall clock of a backend. Only the test advances it."""
    return ManualClock()


@pytest.fixture
def wait(clock: ManualClock) -> Wait:
    """Advance the clock. A backend with a clock of its own overrides this with a fixture that really waits."""

    async def wait(seconds: float) -> None:
        clock.advance(seconds)

    return wait


@pytest_twisted.async_yield_fixture
async def start(make: Make, wait: Wait) -> AsyncIterator[Start]:
    """Start a backend with bounds and rules for channels, to be stopped after the test.

    For example `harness = await start(ChannelRule("a/*", messages=1), messages=2)`.
    """
    running: list[BackendHarness] = []

    async def start(*rules: ChannelRule, **bounds: float) -> BackendHarness:
        harness = BackendHarness(make(Bounds(**bounds), ChannelRules(rules)), wait)  # type: ignore[arg-type]
        running.append(harness)
        await harness.start()
        return harness

    yield start
    for harness in running:
        await harness.stop()


@pytest.fixture(scope="session")
def one_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis server that tests share."""
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()


@pytest.fixture
def redis(one_redis: RedisServer) -> RedisServer:
    """The shared Redis server, empty."""
    one_redis.ask("FLUSHALL")
    return one_redis


@pytest_twisted.async_yield_fixture
async def node() -> AsyncIterator[Callable[..., Awaitable[Node]]]:
    """Start a node, to be stopped after the test: `one = await node(redis.url)`."""
    running: list[Node] = []

    async def start(url: str, **options: Any) -> Node:
        running.append(Node(url, **options))
        return await running[-1].start()

    yield start
    for each in running:
        await each.stop()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Start a Redis server that the test may break: `redis = own_redis("--appendonly", "yes")`."""
    servers: list[RedisServer] = []

    def start(*options: str, name: str = "redis", **rest: Any) -> RedisServer:
        servers.append(RedisServer(tmp_path / f"{name}{len(servers)}", *options, **rest))
        return servers[-1].start()

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Callable[..., SqliteHarness]]:
    """Start a SQLite backend, to be stopped after the test: `harness = sqlite(messages=2)`."""
    harnesses: list[SqliteHarness] = []

    def start(name: str = "data", **rest: Any) -> SqliteHarness:
        harnesses.append(SqliteHarness(tmp_path / name, **rest))
        return harnesses[-1].start()

    yield start
    for harness in harnesses:
        harness.stop()
