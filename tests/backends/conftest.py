"""What the tests of all backends stand on: a clock that only the test moves, and a stage that records."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from pushd.core.history import Bounds
from tests.backends.backend_harness import Make, Stage, StageClock, Wait
from tests.backends.nodes import Node
from tests.backends.redis_server import RedisServer
from tests.backends.sqlite_harness import DiskStore

Start = Callable[..., Awaitable[Stage]]


@pytest.fixture
def clock() -> StageClock:
    """The seconds by which a backend goes, and the wall clock too. They pass only when the test says so."""
    return StageClock()


@pytest.fixture
def wait(clock: StageClock) -> Wait:
    """Let seconds pass. A backend that can not be handed a clock has a fixture of its own that really waits."""

    async def wait(seconds: float) -> None:
        clock.advance(seconds)

    return wait


@pytest_twisted.async_yield_fixture
async def start(make: Make, wait: Wait) -> AsyncIterator[Start]:
    """Start a backend with some bounds: `stage = await start(messages=2)`. It is stopped after the test."""
    running: list[Stage] = []

    async def start(**bounds: float) -> Stage:
        stage = Stage(make(Bounds(**bounds)), wait)  # type: ignore[arg-type]
        running.append(stage)
        await stage.start()
        return stage

    yield start
    for stage in running:
        await stage.stop()


@pytest.fixture(scope="session")
def one_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for all cheap tests."""
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()


@pytest.fixture
def redis(one_redis: RedisServer) -> RedisServer:
    """The Redis for cheap tests, empty."""
    one_redis.ask("FLUSHALL")
    return one_redis


@pytest_twisted.async_yield_fixture
async def node() -> AsyncIterator[Callable[..., Awaitable[Node]]]:
    """Start a node: `one = await node(redis.url)`. It is stopped after the test."""
    running: list[Node] = []

    async def start(url: str, **options: Any) -> Node:
        running.append(Node(url, **options))
        return await running[-1].start()

    yield start
    for each in running:
        await each.stop()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Start a Redis that a test may break: `redis = own_redis("--appendonly", "yes")`."""
    servers: list[RedisServer] = []

    def start(*options: str, name: str = "redis", **rest: Any) -> RedisServer:
        servers.append(RedisServer(tmp_path / f"{name}{len(servers)}", *options, **rest))
        return servers[-1].start()

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[..., DiskStore]]:
    """Start a store on disk: `store = disk(messages=2)`. It is stopped after the test."""
    stores: list[DiskStore] = []

    def start(name: str = "data", **rest: Any) -> DiskStore:
        stores.append(DiskStore(tmp_path / name, **rest))
        return stores[-1].start()

    yield start
    for store in stores:
        store.stop()
