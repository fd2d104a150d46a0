"""Setting the wall clock by an hour closes no connection, delays no ping, keeps the order and expires nothing."""

from types import SimpleNamespace

import pytest

from tests.transports.daemon import MovableReactor
from tests.transports.every_client import each_client
from tests.transports.stream_client import LineStream, Sse
from tests.transports.websocket_client import JsonWebSocket

_HOUR = 3600


@pytest.fixture
def wall(monkeypatch):
    """The wall clock of the daemon, as a list of one number that the test may set."""
    now = [1_800_000_000.0]
    for module in ("pushd.service.backend", "pushd.http.site"):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(time=lambda: now[0]))
    return now


@pytest.mark.parametrize("leap", [_HOUR, -_HOUR], ids=["forward", "back"])
@pytest.mark.parametrize("store", ["memory", "disk"])
@each_client((Sse, LineStream, JsonWebSocket))
async def test_setting_the_wall_clock_has_no_effect(start_daemon, wall, tmp_path, client_class, store, leap):
    reactor = MovableReactor()
    settings = {"history.age": 60, "keepalive.sse": 25} | ({"backend.data_dir": tmp_path} if store == "disk" else {})
    daemon = await start_daemon(settings, reactor)
    client = client_class(daemon)
    await client.subscribe("a")
    ids = [await daemon.publish("a", "one")]
    assert [item.id for item in await client.receive(1)] == ids
    wall[0] += leap
    await reactor.pass_time(26)
    await client.ping()
    ids += [await daemon.publish("a", "two"), await daemon.publish("a", "three")]
    assert [item.id for item in await client.receive(2)] == ids[1:]
    assert await daemon.history("a") == ids
    late = client_class(daemon)
    await late.subscribe("a", since=ids[0])
    assert [item.id for item in await late.receive(2)] == ids[1:]
    await reactor.pass_time(36)
    assert await daemon.history("a") == ids[1:], "what is old goes at its time"
