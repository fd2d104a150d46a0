"""A wall clock that is set by an hour drops nobody, delays no ping, breaks no order and expires nothing early."""

from types import SimpleNamespace

import pytest

from tests.transports.daemon import MovableReactor
from tests.transports.each import each
from tests.transports.sockets import JsonSocket
from tests.transports.streams import LineStream, Sse

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
@each((Sse, LineStream, JsonSocket))
async def test_a_clock_that_is_set(start_daemon, wall, tmp_path, way, store, leap):
    reactor = MovableReactor()
    settings = {"history.age": 60, "keepalive.sse": 25} | ({"backend.data_dir": tmp_path} if store == "disk" else {})
    daemon = await start_daemon(settings, reactor)
    peer = way(daemon)
    await peer.subscribe("a")
    ids = [await daemon.publish("a", "one")]
    assert [item.id for item in await peer.heard(1)] == ids
    wall[0] += leap
    await reactor.pass_time(26)
    await peer.ping()
    ids += [await daemon.publish("a", "two"), await daemon.publish("a", "three")]
    assert [item.id for item in await peer.heard(2)] == ids[1:]
    assert await daemon.history("a") == ids
    late = way(daemon)
    await late.subscribe("a", since=ids[0])
    assert [item.id for item in await late.heard(2)] == ids[1:]
    await reactor.pass_time(36)
    assert await daemon.history("a") == ids[1:], "what is old goes at its time"
