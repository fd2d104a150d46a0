"""Keepalives, and connections that do not answer them. The test advances the clock."""

from twisted.internet.defer import Deferred

from pushd.net.low_priority import LowPriorityReaders
from tests.transports.client import Closed
from tests.transports.daemon import MovableReactor, until
from tests.transports.every_client import CLIENTS, each_client
from tests.transports.line_client import TextLines
from tests.transports.multipart_client import Mixed
from tests.transports.stream_client import LineStream, RawStream, Sse
from tests.transports.websocket_client import DataWebSocket, JsonWebSocket

WEBSOCKETS = tuple(client_class for client_class in CLIENTS if client_class.transport_name == "websocket")


@each_client((Sse, LineStream, Mixed))
async def test_an_idle_stream_gets_a_keepalive_that_does_not_move_the_cursor(start_daemon, client_class):
    reactor = MovableReactor()
    daemon = await start_daemon({"keepalive.sse": 5, "keepalive.stream": 5}, reactor)
    client = client_class(daemon)
    await client.subscribe("a")
    last = await daemon.publish("a", "one")
    await client.receive(1)
    size = len(client.body)
    await reactor.pass_time(4)
    assert len(client.body) == size
    await reactor.pass_time(2)
    await client.ping()
    await reactor.pass_time(5)
    await client.ping()
    assert client.last_id == last
    if client_class is Sse:
        assert client.events.last_event_id == last
        assert client.body[size:] == b":\n:\n"


async def test_a_stream_that_is_written_to_gets_no_keepalive(start_daemon):
    reactor = MovableReactor()
    daemon = await start_daemon({"keepalive.sse": 5}, reactor)
    client = Sse(daemon)
    await client.subscribe("a")
    for number in range(12):
        await reactor.pass_time(1)
        await daemon.publish("a", f"{number}")
        await client.receive(1)
    assert client.events.comments == 1


@each_client((RawStream, TextLines))
async def test_a_format_without_a_keepalive_gets_none(start_daemon, client_class):
    reactor = MovableReactor()
    daemon = await start_daemon({"keepalive.stream": 2}, reactor)
    client = client_class(daemon)
    await client.subscribe("a")
    await reactor.pass_time(5)
    await daemon.publish("a", "one")
    assert await client.data(1) == [b"one"]


@each_client(WEBSOCKETS)
async def test_a_websocket_that_answers_pings_stays_open(start_daemon, client_class):
    reactor = MovableReactor()
    daemon = await start_daemon({}, reactor)
    client = client_class(daemon)
    await client.subscribe("a")
    for _ in range(3):
        await reactor.pass_time(26)
        await client.ping()
    await daemon.publish("a", "one")
    assert await client.data(1) == [b"one"]


@each_client(WEBSOCKETS)
async def test_a_websocket_that_does_not_answer_a_ping_is_closed_with_4408(start_daemon, client_class):
    reactor = MovableReactor()
    daemon = await start_daemon({}, reactor)
    client = client_class(daemon)
    await client.subscribe("a")
    client.protocol.answers_pings = False
    await reactor.pass_time(26)
    await client.ping()
    await reactor.pass_time(8)
    assert len(daemon.subscribers("a")) == 1
    await reactor.pass_time(4)
    assert await client.next() == Closed(4408, True)
    assert daemon.subscribers("a") == []


async def test_any_received_byte_of_a_websocket_counts_as_a_pong(start_daemon):
    reactor = MovableReactor()
    daemon = await start_daemon({}, reactor)
    client = JsonWebSocket(daemon)
    await client.subscribe("a")
    client.protocol.answers_pings = False
    await reactor.pass_time(26)
    await client.ping()
    assert (await client.ask(ping=1))["ok"]
    await reactor.pass_time(15)
    await daemon.publish("a", "one")
    assert await client.data(1) == [b"one"]


async def test_a_websocket_that_ignores_its_close_with_4408_is_aborted(start_daemon):
    reactor = MovableReactor()
    daemon = await start_daemon({}, reactor)
    client = DataWebSocket(daemon)
    await client.subscribe("a")
    client.stall()
    await reactor.pass_time(26 + 11)
    assert daemon.open_connections == 1
    await reactor.pass_time(6)
    await until(lambda: not daemon.open_connections, "the connection closed")


@each_client((Sse, LineStream))
async def test_a_request_that_was_not_read_yet_does_not_time_out(start_daemon, monkeypatch, client_class):
    """Low-priority connections may be read later than the client's time allows."""
    reactor = MovableReactor()
    daemon = await start_daemon({"limits.handshake": 10}, reactor)
    with monkeypatch.context() as busy:
        busy.setattr(LowPriorityReaders, "doRead", lambda row: None)
        client = client_class(daemon)
        subscribing = Deferred.fromCoroutine(client.subscribe("a"))
        await reactor.pass_time(12)
    await subscribing
    await daemon.publish("a", "one")
    assert await client.data(1) == [b"one"]


async def test_a_pong_that_was_not_read_yet_does_not_time_out(start_daemon, monkeypatch):
    reactor = MovableReactor()
    daemon = await start_daemon({"keepalive.ping": 5, "keepalive.pong": 3}, reactor)
    client = JsonWebSocket(daemon)
    await client.subscribe("a")
    with monkeypatch.context() as busy:
        busy.setattr(LowPriorityReaders, "doRead", lambda row: None)
        await reactor.pass_time(10)
    await reactor.pass_time(3)
    await daemon.publish("a", "one")
    assert await client.data(1) == [b"one"]
