"""How connections end: the client goes, or the daemon stops; and requests that begin none."""

from collections import Counter

import pytest
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred

from pushd.core.cursor import MessageId
from pushd.core.errors import Unavailable
from pushd.core.replay import StartPosition
from tests.transports.daemon import turns, until
from tests.transports.each import STREAMS, WAYS, each
from tests.transports.http_client import HttpClient, address, encode_request
from tests.transports.line_client import TextLines
from tests.transports.peers import Closed, End, Heard, Told
from tests.transports.slow_reader import ROOMY, stall
from tests.transports.sockets import CommandedSocket, JsonSocket
from tests.transports.streams import Sse

# The client goes


@each()
@pytest.mark.parametrize("how", ["disconnect", "abort"])
async def test_a_client_that_disconnects_is_removed_within_a_second(daemon, way, how):
    peer, stays = way(daemon), Sse(daemon)
    await peer.subscribe("a,b/*")
    await stays.subscribe("a")
    assert (await daemon.info("a"))["subscribers"] == 2
    await daemon.publish("b/c", "x")
    assert (await daemon.info("b/c"))["transports"] == {way.transport_name: 1}
    getattr(peer, how)()
    await until(lambda: len(daemon.subscribers("a")) == 1, "the subscriber gone", 1)
    assert (await daemon.info("a"))["transports"] == {"sse": 1}
    assert (await daemon.info("b/c"))["subscribers"] == 0
    await until(lambda: daemon.open_connections == 1, "the connection closed", 1)
    await daemon.publish("a", "x")
    assert await stays.data(1) == [b"x"]


@each()
@pytest.mark.parametrize("how", ["disconnect", "abort"])
async def test_a_stalled_client_that_disconnects_is_removed(start_daemon, way, how):
    daemon = await start_daemon(ROOMY)
    peer = way(daemon, small=True)
    await peer.subscribe("a", slow="latest")
    await stall(daemon, peer)
    getattr(peer, how)()
    await until(lambda: not daemon.subscribers("a"), "the subscriber gone", 1)
    await until(lambda: not daemon.open_connections, "the connection closed", 1)


@each((CommandedSocket, TextLines))
@pytest.mark.parametrize("how", ["disconnect", "abort"])
async def test_a_stalled_client_that_disconnects_with_a_waiting_command_is_removed(start_daemon, way, how):
    daemon = await start_daemon(ROOMY)
    peer = way(daemon, small=True)
    await peer.subscribe("a", slow="latest")
    await stall(daemon, peer)
    peer.ask(ping=1) if isinstance(peer, JsonSocket) else peer.send("PING")
    await turns()
    getattr(peer, how)()
    await until(lambda: not daemon.open_connections, "the connection closed", 1)
    assert daemon.subscribers("a") == []


@each(tuple(way for way in WAYS if way.transport_name == "websocket"))
@pytest.mark.parametrize("is_stalled", [False, True])
async def test_a_close_frame_is_answered_and_the_server_closes(start_daemon, way, is_stalled):
    """Also where it has not read all that it was sent (RFC 6455, section 7.1.1: the server closes TCP first)."""
    daemon = await start_daemon(ROOMY)
    peer = way(daemon, small=True)
    await peer.subscribe("a", slow="latest")
    sent = await stall(daemon, peer) if is_stalled else []
    peer.close()
    await until(lambda: not daemon.subscribers("a") or is_stalled, "the subscriber gone", 1)
    peer.unstall()
    await peer.heard(len(sent))
    assert await peer.next() == Closed(1000, True)
    await until(lambda: not daemon.open_connections, "the connection closed", 1)


async def test_the_counters_of_connections_return_to_zero(daemon):
    peers = [way(daemon) for way in WAYS for _ in range(2)]
    for peer in peers:
        await peer.subscribe("a")
    names = Counter(peer.transport_name for peer in peers)
    for name, count in names.items():
        assert await daemon.metric(f'pushd_connections{{transport="{name}"}}') == count
    for peer in peers[::2]:
        peer.disconnect()
    for peer in peers[1::2]:
        peer.abort()
    await until(lambda: not daemon.open_connections, "all connections closed", 1)
    for name in names:
        assert await daemon.metric(f'pushd_connections{{transport="{name}"}}') == 0


@each(STREAMS)
async def test_head_returns_the_headers_and_subscribes_to_nothing(daemon, way):
    answer = await daemon.request("HEAD", address(way.door, "a", format=way.format))
    peer = way(daemon)
    await peer.subscribe("a")
    shown = {name: peer.headers[name] for name in ("content-type", "cache-control", "x-accel-buffering")}
    assert (answer.status, answer.body) == (200, b"")
    assert shown.items() <= answer.headers.items()
    assert len(daemon.subscribers("a")) == 1


@each(STREAMS)
async def test_http_1_0_gets_a_body_that_ends_with_the_connection(daemon, way):
    await daemon.publish("a", "old")
    peer = way(daemon)
    await peer.ask(address(way.door, "a", since="all", format=way.format), version="1.0")
    assert "transfer-encoding" not in peer.headers
    await daemon.publish("a", "bye", end=1)
    assert await peer.data(2) == [b"old", b"bye"]
    if way.tells_gaps:
        assert await peer.next() == End("a")
    assert await peer.next() == Closed(None, True)


# The daemon stops


@each()
async def test_a_shutdown_closes_every_connection_with_the_reason(daemon, way):
    peer = way(daemon)
    await peer.subscribe("a")
    await daemon.publish("a", "one")
    await daemon.stop()
    assert await peer.data(1) == [b"one"]
    if way.transport_name == "tcp":
        assert await peer.next() == Told("stopping")
    assert await peer.next() == Closed(1012 if way.transport_name == "websocket" else None, True)


@each()
async def test_resuming_after_a_restart_reports_the_lost_history(start_daemon, way):
    """The history in memory is gone with the daemon, and that is told."""
    daemon = await start_daemon({})
    before = JsonSocket(daemon)
    await before.subscribe("a")
    await daemon.publish("a", "lost")
    await before.heard(1)
    await daemon.stop()
    daemon = await start_daemon({})
    peer = way(daemon)
    await peer.subscribe("a", since=before.last_id)
    gap = (await peer.next()).reason if way.tells_gaps else peer.gap
    assert gap == "epoch"
    await daemon.publish("a", "new")
    assert isinstance(await peer.next(), Heard)


@each((CommandedSocket, TextLines))
async def test_waiting_commands_do_not_delay_a_shutdown(start_daemon, way):
    daemon = await start_daemon(ROOMY)
    peer = way(daemon, small=True)
    await peer.subscribe("a", slow="latest")
    await stall(daemon, peer)
    peer.ask(ping=1) if isinstance(peer, JsonSocket) else peer.send("PING")
    await daemon.stop()
    assert daemon.open_connections == 0


async def test_an_idle_http_connection_does_not_delay_a_shutdown(daemon):
    client = daemon.connect("http", HttpClient(encode_request("GET", "/health/live")))
    await client.answer
    assert daemon.open_connections == 1
    await maybeDeferred(daemon._service.stopService)
    assert daemon.open_connections == 0


# One who is given up before it was answered

HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.mark.parametrize(("door", "headers"), [("stream", {}), ("ws", HANDSHAKE)])
async def test_a_request_that_is_closed_while_it_is_subscribed_is_refused(daemon, monkeypatch, door, headers):
    """As happens where a store is away just then."""
    opening: Deferred[StartPosition] = Deferred()
    hub = daemon._service.hub
    monkeypatch.setattr(hub._backend, "open", lambda topics, since: opening)
    asked = ensureDeferred(daemon.request("GET", address(door, "a"), headers=headers))
    await until(lambda: daemon.subscribers("a"), "it waits")
    (subscriber,) = daemon.subscribers("a")
    hub.disconnect(subscriber, Unavailable("come back"))
    opening.callback(StartPosition(MessageId("e", 0), (), needs_replay=False, is_complete=False))
    answer = await asked
    assert (answer.status, answer.json["error"]["code"]) == (503, "unavailable")
    assert await daemon.metric(f'pushd_connections{{transport="{"websocket" if door == "ws" else door}"}}') == 0
