"""How connections end: by the client or by a shutdown; and requests that open no stream."""

from collections import Counter

import pytest
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred

from pushd.core.cursor import MessageId
from pushd.core.errors import Unavailable
from pushd.core.replay import StartPosition
from tests.transports.client import Closed, End, ErrorLine, Received
from tests.transports.daemon import turns, until
from tests.transports.every_client import CLIENTS, STREAMING, STREAMS, each_client
from tests.transports.http_client import HttpClient, address, encode_request
from tests.transports.line_client import TextLines
from tests.transports.slow_reader import LARGE_HISTORY, stall
from tests.transports.stream_client import Sse
from tests.transports.websocket_client import CommandWebSocket, JsonWebSocket

# By the client


@each_client(STREAMING)
@pytest.mark.parametrize("how", ["disconnect", "abort"])
async def test_a_client_that_disconnects_is_removed_within_a_second(daemon, client_class, how):
    client, stays = client_class(daemon), Sse(daemon)
    await client.subscribe("a,b/*")
    await stays.subscribe("a")
    assert (await daemon.info("a"))["subscribers"] == 2
    await daemon.publish("b/c", "x")
    assert (await daemon.info("b/c"))["transports"] == {client_class.transport_name: 1}
    getattr(client, how)()
    await until(lambda: len(daemon.subscribers("a")) == 1, "the subscriber gone", 1)
    assert (await daemon.info("a"))["transports"] == {"sse": 1}
    assert (await daemon.info("b/c"))["subscribers"] == 0
    await until(lambda: daemon.open_connections == 1, "the connection closed", 1)
    await daemon.publish("a", "x")
    assert await stays.data(1) == [b"x"]


@each_client(STREAMING)
@pytest.mark.parametrize("how", ["disconnect", "abort"])
async def test_a_stalled_client_that_disconnects_is_removed(start_daemon, client_class, how):
    daemon = await start_daemon(LARGE_HISTORY)
    client = client_class(daemon, small=True)
    await client.subscribe("a", slow="latest")
    await stall(daemon, client)
    getattr(client, how)()
    await until(lambda: not daemon.subscribers("a"), "the subscriber gone", 1)
    await until(lambda: not daemon.open_connections, "the connection closed", 1)


@each_client((CommandWebSocket, TextLines))
@pytest.mark.parametrize("how", ["disconnect", "abort"])
async def test_a_stalled_client_that_disconnects_with_a_waiting_command_is_removed(start_daemon, client_class, how):
    daemon = await start_daemon(LARGE_HISTORY)
    client = client_class(daemon, small=True)
    await client.subscribe("a", slow="latest")
    await stall(daemon, client)
    client.ask(ping=1) if isinstance(client, JsonWebSocket) else client.send("PING")
    await turns()
    getattr(client, how)()
    await until(lambda: not daemon.open_connections, "the connection closed", 1)
    assert daemon.subscribers("a") == []


@each_client(tuple(client_class for client_class in CLIENTS if client_class.transport_name == "websocket"))
@pytest.mark.parametrize("is_stalled", [False, True])
async def test_a_close_frame_is_answered_and_the_server_closes(start_daemon, client_class, is_stalled):
    """Also if the client has not read everything (RFC 6455, section 7.1.1: the server closes TCP first)."""
    daemon = await start_daemon(LARGE_HISTORY)
    client = client_class(daemon, small=True)
    await client.subscribe("a", slow="latest")
    sent = await stall(daemon, client) if is_stalled else []
    client.close()
    await until(lambda: not daemon.subscribers("a") or is_stalled, "the subscriber gone", 1)
    client.unstall()
    await client.receive(len(sent))
    assert await client.next() == Closed(1000, True)
    await until(lambda: not daemon.open_connections, "the connection closed", 1)


async def test_the_counters_of_connections_return_to_zero(daemon):
    clients = [client_class(daemon) for client_class in CLIENTS for _ in range(2)]
    for client in clients:
        await client.subscribe("a")
    names = Counter(client.transport_name for client in clients)
    for name, count in names.items():
        assert await daemon.metric(f'pushd_connections{{transport="{name}"}}') == count
    for client in clients[::2]:
        client.disconnect()
    for client in clients[1::2]:
        client.abort()
    await until(lambda: not daemon.open_connections, "all connections closed", 1)
    for name in names:
        assert await daemon.metric(f'pushd_connections{{transport="{name}"}}') == 0


@each_client(STREAMS)
async def test_head_returns_the_headers_and_subscribes_to_nothing(daemon, client_class):
    answer = await daemon.request("HEAD", address(client_class.resource, "a", format=client_class.format))
    client = client_class(daemon)
    await client.subscribe("a")
    shown = {name: client.headers[name] for name in ("content-type", "cache-control", "x-accel-buffering")}
    assert (answer.status, answer.body) == (200, b"")
    assert shown.items() <= answer.headers.items()
    assert len(daemon.subscribers("a")) == 1


@each_client(STREAMS)
async def test_http_1_0_gets_a_body_that_ends_with_the_connection(daemon, client_class):
    await daemon.publish("a", "old")
    client = client_class(daemon)
    await client.ask(address(client_class.resource, "a", since="all", format=client_class.format), version="1.0")
    assert "transfer-encoding" not in client.headers
    await daemon.publish("a", "bye", end=1)
    assert await client.data(2) == [b"old", b"bye"]
    if client_class.reports_gaps:
        assert await client.next() == End("a")
    assert await client.next() == Closed(None, True)


@each_client(STREAMS)
async def test_the_connection_of_a_kicked_stream_is_kept_as_announced(daemon, client_class):
    client = client_class(daemon)
    for number in range(5):
        await client.subscribe("a")
        (subscriber,) = daemon.subscribers("a")
        assert (await daemon.request("DELETE", f"/connections/{subscriber.peer.id}")).status == 200
        assert await client.next() == Closed(None, True), number
    await client.subscribe("a")
    await daemon.publish("a", "on")
    assert await client.data(1) == [b"on"]
    await until(lambda: daemon.open_connections == 1, "the other connections closed")


async def test_a_request_that_is_sent_during_a_stream_is_answered_after_a_kick(daemon):
    requests = [encode_request("GET", path, None, {"Connection": "keep-alive"}) for path in ("/sse/a", "/version")]
    client = HttpClient(b"".join(requests))
    daemon.connect("http", client)
    await client.head
    (subscriber,) = daemon.subscribers("a")
    await daemon.request("DELETE", f"/connections/{subscriber.peer.id}")
    await client.answer
    client.ask(b"")
    client.dataReceived(b"")
    assert (await client.answer).json["server"] == "pushd"


# By a shutdown


@pytest.mark.parametrize("path", ["/longpoll/a", "/pull/a?interval=0&since=E-0"])
async def test_the_answer_to_a_held_request_at_a_shutdown_announces_that_the_connection_closes(daemon, path):
    epoch = (await daemon.publish("other", "x")).partition("-")[0]
    client = HttpClient(encode_request("GET", path.replace("E-", f"{epoch}-"), None, {"Connection": "keep-alive"}))
    daemon.connect("http", client)
    await until(lambda: daemon.subscribers("a"), "the request")
    await daemon.stop()
    assert (await client.answer).headers["connection"] == "close"


@each_client(STREAMING)
async def test_a_shutdown_closes_every_connection_with_the_reason(daemon, client_class):
    client = client_class(daemon)
    await client.subscribe("a")
    await daemon.publish("a", "one")
    await daemon.stop()
    assert await client.data(1) == [b"one"]
    if client_class.transport_name == "tcp":
        assert await client.next() == ErrorLine("stopping")
    assert await client.next() == Closed(1012 if client_class.transport_name == "websocket" else None, True)


@each_client(STREAMING)
async def test_resuming_after_a_restart_reports_the_lost_history(start_daemon, client_class):
    """The history in memory is lost with the daemon, which is reported as a gap."""
    daemon = await start_daemon({})
    before = JsonWebSocket(daemon)
    await before.subscribe("a")
    await daemon.publish("a", "lost")
    await before.receive(1)
    await daemon.stop()
    daemon = await start_daemon({})
    client = client_class(daemon)
    await client.subscribe("a", since=before.last_id)
    if not client_class.reports_gaps:
        await until(lambda: client.gap, "the gap")
    assert ((await client.next()).reason if client_class.reports_gaps else client.gap) == "epoch"
    await daemon.publish("a", "new")
    assert isinstance(await client.next(), Received)


@each_client((CommandWebSocket, TextLines))
async def test_waiting_commands_do_not_delay_a_shutdown(start_daemon, client_class):
    daemon = await start_daemon(LARGE_HISTORY)
    client = client_class(daemon, small=True)
    await client.subscribe("a", slow="latest")
    await stall(daemon, client)
    client.ask(ping=1) if isinstance(client, JsonWebSocket) else client.send("PING")
    await daemon.stop()
    assert daemon.open_connections == 0


async def test_an_idle_http_connection_does_not_delay_a_shutdown(daemon):
    client = daemon.connect("http", HttpClient(encode_request("GET", "/health/live")))
    await client.answer
    assert daemon.open_connections == 1
    await maybeDeferred(daemon._service.stopService)
    assert daemon.open_connections == 0


# Before the request is answered

HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@pytest.mark.parametrize(("resource", "headers"), [("stream", {}), ("ws", HANDSHAKE)])
async def test_a_request_that_is_closed_while_it_is_subscribed_is_refused(daemon, monkeypatch, resource, headers):
    """As happens when the backend becomes unavailable meanwhile."""
    opening: Deferred[StartPosition] = Deferred()
    hub = daemon._service.hub
    monkeypatch.setattr(hub._backend, "open", lambda topics, since: opening)
    asked = ensureDeferred(daemon.request("GET", address(resource, "a"), headers=headers))
    await until(lambda: daemon.subscribers("a"), "it waits")
    (subscriber,) = daemon.subscribers("a")
    hub.disconnect(subscriber, Unavailable("come back"))
    opening.callback(StartPosition(MessageId("e", 0), (), needs_replay=False, is_complete=False))
    answer = await asked
    assert (answer.status, answer.json["error"]["code"]) == (503, "unavailable")
    assert await daemon.metric(f'pushd_connections{{transport="{"websocket" if resource == "ws" else resource}"}}') == 0
