"""The fixtures of this directory."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted

from tests.backends.conftest import one_redis, own_redis
from tests.backends.redis_server import RedisServer
from tests.daemon_fixtures import Start, daemon, start_daemon
from tests.transports.daemon import RunningDaemon, until_ready

__all__ = ["any_daemon", "backend_settings", "daemon", "one_redis", "own_redis", "start_daemon"]


@pytest.fixture(params=["memory", "sqlite", "redis"])
def backend_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, object]]:
    """The settings of each backend in turn, with an empty history."""
    match request.param:
        case "memory":
            yield {}
        case "sqlite":
            yield {"backend.data_dir": tmp_path / "history"}
        case "redis":
            redis: RedisServer = request.getfixturevalue("one_redis")
            redis.ask("FLUSHALL")
            yield {"backend.url": redis.url}


@pytest_twisted.async_fixture
async def any_daemon(start_daemon: Start, backend_settings: dict[str, object]) -> RunningDaemon:
    """A daemon with each backend in turn, ready to be published to."""
    running = await start_daemon(backend_settings)
    await until_ready(running)
    return running
