"""Clients that leave while the backend does not answer: each connection is removed once, and nothing fails."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.defer import ensureDeferred

from tests.backends.redis_server import RedisServer
from tests.transports.bayeux_client import BayeuxPoll
from tests.transports.daemon import turns, until, until_ready
from tests.transports.every_client import ALL_CLIENTS, each_client
from tests.transports.session_clients import SessionClient
from tests.transports.stream_client import Sse


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis server of its own, which the test stops for a while."""
    server = RedisServer(tmp_path / "redis").start()
    yield server
    server.kill()


@each_client(ALL_CLIENTS)
@pytest.mark.parametrize("how", ["disconnect", "abort"])
@pytest.mark.parametrize("since", [None, "all"])
async def test_clients_that_leave_while_the_backend_stalls_are_removed_once(
    start_daemon, redis, client_class, how, since
):
    daemon = await start_daemon({"backend.url": redis.url, "backend.publish_timeout": "1.5s"})
    await until_ready(daemon)
    await daemon.publish("a", "kept")
    stays = Sse(daemon)
    await stays.subscribe("a")
    redis.freeze()
    clients = [client_class(daemon) for _ in range(3)]
    for client in clients:
        ensureDeferred(client.subscribe("a", since=since)).addErrback(lambda failure: None)
    await until(lambda: _has_requests(daemon, client_class), "the requests")
    await turns()
    for client in clients:
        getattr(client, how)()
    await until(lambda: daemon.open_connections == 1, "the connections closed")
    redis.thaw()
    await until_ready(daemon)
    await daemon.publish("a", "on")
    assert await stays.data(1) == [b"on"]
    assert len(daemon.subscribers("a")) == 1
    assert not [line for line in daemon.log if "failed" in line]


def _has_requests(daemon, client_class):
    """Return whether the requests of three clients are there, besides the event stream."""
    if issubclass(client_class, BayeuxPoll | SessionClient):  # a request before the first that is held waits
        return daemon.open_connections >= 4
    name = client_class.transport_name
    return daemon.counters.connections[name] >= 3 + (name == "sse")
