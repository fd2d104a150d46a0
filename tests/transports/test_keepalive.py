"""Signs of life, and what becomes of those who give none. The test moves the time."""

from twisted.internet.defer import Deferred

from pushd.net.low_priority import LowPriorityReaders
from tests.transports.daemon import MovableReactor, until
from tests.transports.each import WAYS, each
from tests.transports.line_client import TextLines
from tests.transports.multipart_client import Mixed
from tests.transports.peers import Closed
from tests.transports.sockets import BareSocket, JsonSocket
from tests.transports.streams import LineStream, RawStream, Sse

SOCKETS = tuple(way for way in WAYS if way.transport_name == "websocket")


@each((Sse, LineStream, Mixed))
async def test_an_idle_stream_gets_a_keepalive_that_does_not_move_the_cursor(start_daemon, way):
    reactor = MovableReactor()
    daemon = await start_daemon({"keepalive.sse": 5, "keepalive.stream": 5}, reactor)
    peer = way(daemon)
    await peer.subscribe("a")
    last = await daemon.publish("a", "one")
    await peer.heard(1)
    size = len(peer.body)
    await reactor.pass_time(4)
    assert len(peer.body) == size
    await reactor.pass_time(2)
    await peer.ping()
    await reactor.pass_time(5)
    await peer.ping()
    assert peer.last_id == last
    if way is Sse:
        assert peer.events.last_event_id == last
        assert peer.body[size:] == b":\n:\n"


async def test_a_stream_that_is_written_to_gets_no_keepalive(start_daemon):
    reactor = MovableReactor()
    daemon = await start_daemon({"keepalive.sse": 5}, reactor)
    peer = Sse(daemon)
    await peer.subscribe("a")
    for number in range(12):
        await reactor.pass_time(1)
        await daemon.publish("a", f"{number}")
        await peer.heard(1)
    assert peer.events.comments == 1


@each((RawStream, TextLines))
async def test_a_format_without_a_keepalive_gets_none(start_daemon, way):
    reactor = MovableReactor()
    daemon = await start_daemon({"keepalive.stream": 2}, reactor)
    peer = way(daemon)
    await peer.subscribe("a")
    await reactor.pass_time(5)
    await daemon.publish("a", "one")
    assert await peer.data(1) == [b"one"]


@each(SOCKETS)
async def test_a_websocket_that_answers_pings_stays_open(start_daemon, way):
    reactor = MovableReactor()
    daemon = await start_daemon({}, reactor)
    peer = way(daemon)
    await peer.subscribe("a")
    for _ in range(3):
        await reactor.pass_time(26)
        await peer.ping()
    await daemon.publish("a", "one")
    assert await peer.data(1) == [b"one"]


@each(SOCKETS)
async def test_a_websocket_that_does_not_answer_a_ping_is_closed_with_4408(start_daemon, way):
    reactor = MovableReactor()
    daemon = await start_daemon({}, reactor)
    peer = way(daemon)
    await peer.subscribe("a")
    peer.protocol.answers_pings = False
    await reactor.pass_time(26)
    await peer.ping()
    await reactor.pass_time(8)
    assert len(daemon.subscribers("a")) == 1
    await reactor.pass_time(4)
    assert await peer.next() == Closed(4408, True)
    assert daemon.subscribers("a") == []


async def test_any_received_byte_of_a_websocket_counts_as_a_pong(start_daemon):
    reactor = MovableReactor()
    daemon = await start_daemon({}, reactor)
    peer = JsonSocket(daemon)
    await peer.subscribe("a")
    peer.protocol.answers_pings = False
    await reactor.pass_time(26)
    await peer.ping()
    assert (await peer.ask(ping=1))["ok"]
    await reactor.pass_time(15)
    await daemon.publish("a", "one")
    assert await peer.data(1) == [b"one"]


async def test_a_websocket_that_ignores_its_close_with_4408_is_aborted(start_daemon):
    reactor = MovableReactor()
    daemon = await start_daemon({}, reactor)
    peer = BareSocket(daemon)
    await peer.subscribe("a")
    peer.stall()
    await reactor.pass_time(26 + 11)
    assert daemon.open_connections == 1
    await reactor.pass_time(6)
    await until(lambda: not daemon.open_connections, "the connection closed")


@each((Sse, LineStream))
async def test_a_request_that_was_not_read_yet_does_not_time_out(start_daemon, monkeypatch, way):
    """A crowd is read behind others, and may wait for longer than a client has time."""
    reactor = MovableReactor()
    daemon = await start_daemon({"limits.handshake": 10}, reactor)
    with monkeypatch.context() as busy:
        busy.setattr(LowPriorityReaders, "doRead", lambda row: None)
        peer = way(daemon)
        subscribing = Deferred.fromCoroutine(peer.subscribe("a"))
        await reactor.pass_time(12)
    await subscribing
    await daemon.publish("a", "one")
    assert await peer.data(1) == [b"one"]


async def test_a_pong_that_was_not_read_yet_does_not_time_out(start_daemon, monkeypatch):
    reactor = MovableReactor()
    daemon = await start_daemon({"keepalive.ping": 5, "keepalive.pong": 3}, reactor)
    peer = JsonSocket(daemon)
    await peer.subscribe("a")
    with monkeypatch.context() as busy:
        busy.setattr(LowPriorityReaders, "doRead", lambda row: None)
        await reactor.pass_time(10)
    await reactor.pass_time(3)
    await daemon.publish("a", "one")
    assert await peer.data(1) == [b"one"]
