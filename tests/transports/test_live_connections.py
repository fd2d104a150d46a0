"""The life of a connection over each transport: added once and removed once, whatever ends it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple, cast

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from pushd.core.errors import Refusal, Stopping, Unavailable
from pushd.core.outbox import Policy
from pushd.core.peer import DAEMON
from pushd.core.subscriber import Subscriber
from pushd.wire.sse import PREAMBLE
from tests.transports.in_memory_server import HANDSHAKE, InMemoryServer, request

STOPPING = Stopping("the daemon is shutting down")


class Case(NamedTuple):
    """A transport, and the bytes with which a client subscribes to channel `a`."""

    name: str
    is_http: bool
    subscribe: bytes


CASES = (
    Case("sse", True, request("/sse/a")),
    Case("stream", True, request("/stream/a")),
    Case("multipart", True, request("/multipart/a")),
    Case("mixed", True, request("/mixed/a")),
    Case("websocket", True, request("/ws/a", **HANDSHAKE)),
    Case("websocket", True, request("/ws/a", **HANDSHAKE, Sec_WebSocket_Protocol="pushd.v1")),
    Case("longpoll", True, request("/longpoll/a")),
    Case("pull", True, request("/pull/a?interval=0&since=E-0")),
    Case("tcp", False, b"SUB a\r\n"),
)
PUSHLET = Case(
    "pushlet-stream", True, request("/pushlet.srv?p_event=join-listen&p_format=xml&p_mode=stream&p_subject=/a")
)
"""A session of Pushlet that begins with its stream. Its cursor is read before it is a connection."""


def each_transport(cases: tuple[Case, ...] = CASES) -> pytest.MarkDecorator:
    """Run a test once for each transport."""
    ids = [f"{case.name}-v1" if b"pushd.v1" in case.subscribe else case.name for case in cases]
    return pytest.mark.parametrize("case", cases, ids=ids)


@pytest_twisted.async_yield_fixture
async def server() -> AsyncIterator[InMemoryServer]:
    running = await InMemoryServer().start()
    yield running
    running.stop()


class Connection:
    """A connection to an `InMemoryServer`, and a record of the calls of `Hub.add` and `Hub.remove`."""

    def __init__(self, server: InMemoryServer, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = server
        self.case = case
        self.added: list[Subscriber] = []
        self.removed: list[Refusal | None] = []
        add, remove = server.hub.add, server.hub.remove

        def record_add(subscriber: Subscriber) -> None:
            self.added.append(subscriber)
            assert not subscriber.starts
            add(subscriber)

        def record_remove(subscriber: Subscriber, why: Refusal | None = None) -> None:
            self.removed.append(why)
            remove(subscriber, why)

        monkeypatch.setattr(server.hub, "add", record_add)
        monkeypatch.setattr(server.hub, "remove", record_remove)
        self.transport = server.connect(is_http=case.is_http)
        self.transport.protocol.dataReceived(case.subscribe)

    @property
    def output(self) -> bytes:
        """The bytes that were sent to the client."""
        return bytes(self.transport.value())

    def receive(self, data: bytes) -> None:
        """Receive bytes of the client."""
        self.transport.protocol.dataReceived(data)

    def pause(self) -> None:
        """Make the send buffer full."""
        assert self.transport.producer is not None
        self.transport.producer.pauseProducing()

    def check_removed_once(self) -> None:
        """Check that nothing is left of the connection, also after it is lost."""
        for _ in range(2):
            assert (len(self.added), len(self.removed)) == (1, 1)
            assert list(self.server.hub.queries.connections(DAEMON, None, None, 9)) == []
            assert self.server.counters.connections[self.case.name] == 0
            assert list(self.server.hub.queries.connections(DAEMON, None, None, 10**6)) == []
            assert len(self.server.hub._quotas) == 0
            self.server.clock.advance(0)
            if len(self.server.admission):
                self.server.lose(self.transport)
        assert len(self.server.admission) == 0
        self.server.clock.pump([1] * 20)  # neither a keepalive nor a timeout finds the connection
        assert self.server.hub.budget.used == 0


Ending = Callable[[Connection], Awaitable[None]]


async def kick(connection: Connection) -> None:
    connection.server.hub.kicks.kick(DAEMON, connection.added[0].peer.id)


async def lose(connection: Connection) -> None:
    connection.server.lose(connection.transport)


async def shut_down(connection: Connection) -> None:
    for transport in connection.server.transports:
        transport.close_all(STOPPING, busy=False)


async def read_too_slowly(connection: Connection) -> None:
    connection.added[0].policy = Policy.DISCONNECT
    connection.pause()
    await connection.server.publish("a", "1", "2", "3")


async def end_channel(connection: Connection) -> None:
    await connection.server.publish("a", "bye", end=True)


async def fail_to_deliver(connection: Connection) -> None:
    connection.server.hub.disconnect(connection.added[0], RuntimeError("a bug"))


ENDINGS: dict[str, Ending] = {
    "kick": kick,
    "lost": lose,
    "shutdown": shut_down,
    "slow": read_too_slowly,
    "end": end_channel,
    "bug": fail_to_deliver,
}
NOT_APPLICABLE = {
    ("slow", "longpoll"): "the first message answers the request",
    ("slow", "pull"): "the first message answers the request",
    ("end", "tcp"): "the connection stays open",
    ("end", "pushlet-stream"): "the connection stays open",
}


@pytest.mark.parametrize("ending", ENDINGS)
@each_transport((*CASES, PUSHLET))
async def test_an_open_connection_is_added_once_and_removed_once(server, case, ending, monkeypatch, request):
    if (ending, case.name) in NOT_APPLICABLE:
        pytest.skip(NOT_APPLICABLE[ending, case.name])
    if ending == "bug":
        request.getfixturevalue("expected_failures")
    connection = Connection(server, case, monkeypatch)
    (subscriber,) = server.hub.queries.connections(DAEMON, "a", None, 9)
    assert (subscriber.peer.number, server.counters.connections[case.name]) == (1, 1)
    await ENDINGS[ending](connection)
    connection.check_removed_once()
    assert server.counters.disconnects.total() == (ending in ("kick", "slow", "bug"))


@each_transport((*CASES, PUSHLET))
async def test_a_connection_that_fails_to_close_is_removed_once(server, case, monkeypatch, expected_failures):
    connection = Connection(server, case, monkeypatch)

    def fail(self: object, why: Refusal) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(type(connection.added[0].outlet), "close", fail)
    await kick(connection)
    assert [event["log_failure"].getErrorMessage() for event in expected_failures] == ["a bug"]
    assert list(server.hub.queries.connections(DAEMON, None, None, 9)) == []
    assert connection.transport.disconnected  # that is, aborted
    server.lose(connection.transport)
    connection.check_removed_once()


READING_ENDINGS = {name: ENDINGS[name] for name in ("kick", "lost", "shutdown", "bug")}


@pytest.mark.parametrize("ending", READING_ENDINGS)
@each_transport()
async def test_a_connection_that_ends_while_its_history_is_read_is_removed_once(
    server, case, ending, monkeypatch, request
):
    if ending == "bug":
        request.getfixturevalue("expected_failures")
    await server.publish("a", "1", "2", "3")
    reading = server.backend.reading = Deferred()
    subscribe = case.subscribe if case.name == "pull" else case.subscribe.replace(b"/a", b"/a?since=all")
    case = case._replace(subscribe=subscribe.replace(b"SUB a", b"SUB a since=all"))
    connection = Connection(server, case, monkeypatch)
    assert server.backend.readers == 1
    await READING_ENDINGS[ending](connection)
    assert (len(connection.added), len(connection.removed)) == (1, 1)
    reading.callback(None)
    connection.check_removed_once()


OPENING_ENDINGS = {
    "kick": kick,
    "lost": lose,
    "shutdown": shut_down,
    "resync": lambda connection: refuse(connection, Unavailable("subscription needs a resync")),
}


async def refuse(connection: Connection, refusal: Refusal) -> None:
    connection.server.hub.disconnect(connection.added[0], refusal)


@pytest.mark.parametrize("ending", OPENING_ENDINGS)
@each_transport()
async def test_a_connection_that_ends_while_its_subscription_is_opened_is_removed_once(
    server, case, ending, monkeypatch
):
    opening: Deferred[None] = Deferred()
    server.backend.opening = opening
    connection = Connection(server, case, monkeypatch)
    assert server.counters.connections[case.name] == 1
    assert [each.peer.number for each in server.hub.queries.connections(DAEMON, None, None, 9)] == [1]
    await OPENING_ENDINGS[ending](connection)
    before = connection.output
    opening.callback(None)
    if case.is_http:
        answer = connection.output.removeprefix(before)
        assert answer.partition(b"\r\n")[0] == _answer_to(case, ending)
        if (case.name, ending) == ("sse", "kick"):
            assert answer.endswith(b"\r\n\r\n" + PREAMBLE % 3000)  # as if it was kicked once it was open
        for name in (b"pushd-id", b"last-event-id", b"etag"):  # an empty cursor would be sent back as no cursor
            assert name + b":" not in connection.output.lower()
    connection.check_removed_once()


def _answer_to(case: Case, ending: str) -> bytes:
    """Return the status line for a request whose subscription is closed before it is opened."""
    if ending == "lost":
        return b""
    # An EventSource does not reconnect after an error status.
    return b"HTTP/1.1 200 OK" if case.name == "sse" else b"HTTP/1.1 503 Service Unavailable"


@pytest.mark.parametrize("error", [Unavailable("the backend is away"), RuntimeError("a bug")], ids=["refusal", "bug"])
@each_transport()
async def test_a_connection_that_the_backend_refuses_is_removed_once(
    server, case, error, monkeypatch, request, logged_failures
):
    is_bug = isinstance(error, RuntimeError)
    if is_bug:
        request.getfixturevalue("expected_failures")
    opening: Deferred[None] = Deferred()
    server.backend.opening = opening
    connection = Connection(server, case, monkeypatch)
    opening.errback(Failure(error))
    assert len(logged_failures) == is_bug
    if case.is_http:
        connection.check_removed_once()
    else:  # a command is refused; only a bug closes the connection
        assert len(connection.removed) == is_bug
        server.lose(connection.transport)
        connection.check_removed_once()


def _frame(opcode: int, payload: bytes) -> bytes:
    """Encode a final frame with the mask 0 (RFC 6455, section 5.2)."""
    return bytes([0x80 | opcode, 0x80 | len(payload), 0, 0, 0, 0]) + payload


_WEBSOCKET, _WEBSOCKET_V1, _LINES = CASES[4], CASES[5], CASES[8]
CLOSING_INPUT = {
    "close frame": (_WEBSOCKET, _frame(8, b"\x03\xe8")),
    "invalid frame": (_WEBSOCKET, b"\xff\xff\xff"),
    "text that is not UTF-8": (_WEBSOCKET_V1, _frame(1, b"\xff")),
    "command without the subprotocol": (_WEBSOCKET, _frame(1, b"{}")),
    "quit": (_LINES, b"PING\r\nQUIT\r\nPING\r\n"),
    "HTTP request": (_LINES, b"GET / HTTP/1.1\r\n"),
    "long line": (_LINES, b"x" * (3 << 20)),
}


@pytest.mark.parametrize(("case", "data"), CLOSING_INPUT.values(), ids=CLOSING_INPUT)
async def test_a_connection_that_is_closed_because_of_its_input_is_removed_once(server, case, data, monkeypatch):
    connection = Connection(server, case, monkeypatch)
    connection.receive(data)
    assert connection.transport.disconnecting or b"\x88" in connection.output
    connection.receive(_frame(1, b"{}") if case.is_http else b"PING\r\n")  # ignored
    connection.check_removed_once()


@pytest.mark.parametrize("is_executing", [False, True])
async def test_a_half_closed_line_connection_is_removed_once_its_commands_are_executed(
    server, is_executing, monkeypatch
):
    connection = Connection(server, _LINES, monkeypatch)
    opening: Deferred[None] = Deferred()
    if is_executing:
        server.backend.opening = opening
        connection.receive(b"SUB b\r\n")
    protocol = cast(IHalfCloseableProtocol, connection.transport.protocol)
    protocol.readConnectionLost()
    assert len(connection.removed) == (not is_executing)
    opening.callback(None)
    assert connection.output.endswith(b"+OK SUB b cursor=E-0\r\n") == is_executing
    connection.check_removed_once()


@each_transport((_WEBSOCKET, _WEBSOCKET_V1))
async def test_a_websocket_that_does_not_answer_a_ping_is_removed_once(server, case, monkeypatch):
    connection = Connection(server, case, monkeypatch)
    server.clock.pump([1] * 12)
    assert connection.output.count(b"\x89\x00") == 2  # a ping every 5 seconds, and 5 seconds to answer
    assert server.counters.refusals["no-pong"] == 1
    connection.check_removed_once()


@each_transport(tuple(case for case in CASES if case.is_http))
async def test_a_subscription_that_is_refused_before_the_backend_is_asked_is_removed_once(server, case, monkeypatch):
    server.hub.reconfigure(max_subscriptions=0)
    connection = Connection(server, case, monkeypatch)
    status = b"101" if b"pushd.v1" in case.subscribe else b"429"
    assert connection.output.startswith(b"HTTP/1.1 %b " % status)
    assert server.counters.refusals["too-many-subscriptions"] == 1
    connection.check_removed_once()


@each_transport()
async def test_the_access_log_has_one_entry_for_each_stream(server, case, monkeypatch):
    entries: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_namespace"] == "pushd.access":
            entries.append(formatEvent(event))

    observer = cast(ILogObserver, observe)
    globalLogPublisher.addObserver(observer)
    connection = Connection(server, case, monkeypatch)
    await kick(connection)
    connection.check_removed_once()
    globalLogPublisher.removeObserver(observer)
    assert len(entries) == case.is_http, entries


async def test_close_all_leaves_connections_that_have_not_read_their_queue_if_asked_to(server, monkeypatch):
    slow, fast = (Connection(server, CASES[0], monkeypatch) for _ in range(2))
    slow.pause()
    for transport in server.transports:
        transport.close_all(STOPPING, busy=False)
    assert (slow.transport.disconnecting, fast.transport.disconnecting) == (False, True)
    for transport in server.transports:
        transport.close_all(STOPPING, busy=True)
    assert slow.transport.disconnecting
    assert len(server.hub.queries.connections(DAEMON, None, None, 9)) == 0


@pytest.mark.parametrize("is_early", [False, True])
async def test_commands_sent_before_the_handshake_is_accepted_are_executed_after_it(server, is_early, monkeypatch):
    """Whether the command arrives with the handshake or while the backend opens the topics."""
    opening: Deferred[None] = Deferred()
    server.backend.opening = opening
    command = _frame(1, b'{"ping":1}')
    case = _WEBSOCKET_V1._replace(subscribe=_WEBSOCKET_V1.subscribe + (command if is_early else b""))
    connection = Connection(server, case, monkeypatch)
    if not is_early:
        connection.receive(command)
    assert connection.output == b""
    opening.callback(None)
    assert connection.output.startswith(b"HTTP/1.1 101 ")
    assert connection.output.endswith(b'{"ref":null,"ok":true,"pong":1}')
    await lose(connection)
    connection.check_removed_once()


@each_transport((CASES[0], _WEBSOCKET_V1))
async def test_bytes_after_a_request_that_is_not_answered_yet_are_bounded(server, case, monkeypatch):
    opening = server.backend.opening = Deferred()
    connection = Connection(server, case, monkeypatch)
    received = 0
    while connection.transport.is_reading and received < 1 << 20:
        connection.receive(b"\x00" * 4096)
        received += 4096
    assert received < 1 << 16
    await lose(connection)
    opening.callback(None)
    connection.check_removed_once()
