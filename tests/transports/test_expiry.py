"""Tokens that expire while a connection is open: the warning, the renewal, and the end, over each transport."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import Clock

from pushd.auth.authenticator import Authenticator
from pushd.auth.token_checks import Verdict
from pushd.core.errors import Forbidden, TokenExpired, TokenMissing, UnknownConnection
from pushd.core.grant import NOTHING, Grant
from pushd.core.identity import Identity
from pushd.core.peer import DAEMON, Peer
from pushd.core.subscriber import Subscriber
from tests.transports.in_memory_server import HANDSHAKE, InMemoryServer, request

EXPIRES = 60
END = EXPIRES + 10 + 25
"""When a connection is closed: the leeway and the grace have passed."""
PONG = b"\x8a\x80\x00\x00\x00\x00"
V1 = {**HANDSHAKE, "Sec_WebSocket_Protocol": "pushd.v1"}
PATHS: dict[str, Callable[..., bytes]] = {
    "sse": lambda **headers: request("/sse/a", **headers),
    "stream": lambda **headers: request("/stream/a", **headers),
    "raw stream": lambda **headers: request("/stream/a?format=raw", **headers),
    "multipart": lambda **headers: request("/multipart/a", **headers),
    "mixed": lambda **headers: request("/mixed/a", **headers),
    "websocket": lambda **headers: request("/ws/a", **HANDSHAKE, **headers),
    "websocket-v1": lambda **headers: request("/ws/a", **V1, **headers),
    "tcp": lambda **headers: b"AUTH alice:a\r\nSUB a\r\n",
}
WARNING = b'{"type":"expiring","at":60}'
WARNINGS = {"sse": b"event: expiring\ndata: %b\n\n" % WARNING, "stream": WARNING + b"\n", "tcp": b"EXPIRING 60\r\n"}
WARNINGS["websocket-v1"] = b"\x81" + bytes([len(WARNING)]) + WARNING
EXPIRED = b'{"type":"expired","code":"token-expired"}'
LAST = {
    "sse": b"retry: 3600000\nevent: expired\ndata: %b\n\n" % EXPIRED,
    "stream": EXPIRED + b"\n",
    "websocket": b"\x11\x31",
    "websocket-v1": b"\x11\x31",
    "tcp": b"-ERR token-expired token has expired\r\n",
}
"""What is sent at the end; 0x1131 is the close code 4401."""


class Tokens:
    """A verifier whose tokens are ``SUBJECT:TOPICS``, valid for `EXPIRES` seconds from when they are verified."""

    def __init__(self) -> None:
        self.clock: Clock | None = None

    async def verify(self, token: str) -> Identity:
        """See `Verifier`."""
        assert self.clock is not None
        subject, _, topics = token.partition(":")
        if subject == "expired":
            raise TokenExpired("token has expired")
        grant = Grant.parse({"subscribe": topics.split(",")}, subject, where="token")
        return Identity(subject, grant, "shop", self.clock.seconds() + EXPIRES)

    async def examine(self, token: str) -> Verdict:
        """See `Verifier`."""
        return Verdict(await self.verify(token))


@pytest_twisted.async_yield_fixture
async def server() -> AsyncIterator[InMemoryServer]:
    """A server whose clock begins at 0."""
    tokens = Tokens()
    running = InMemoryServer(authenticator=Authenticator([tokens], lambda: running.clock.seconds(), NOTHING))
    tokens.clock = running.clock
    await running.start()
    yield running
    running.stop()


class Connection:
    """A connection with a subscription to channel `a`, by a token that expires after `EXPIRES` seconds."""

    def __init__(self, server: InMemoryServer, name: str) -> None:
        self._server = server
        self._name = name
        self.transport = server.connect(is_http=name != "tcp")
        self._send(PATHS[name](Authorization="Bearer alice:a"))
        server.clock.advance(0)

    @property
    def output(self) -> bytes:
        """What the client has received."""
        return bytes(self.transport.value())

    @property
    def subscriber(self) -> Subscriber | None:
        """Its subscriber; None when it is closed."""
        return next(iter(self._server.hub.queries.connections(DAEMON, None, None, 9)), None)

    @property
    def is_open(self) -> bool:
        """Whether its subscriber is there."""
        return self.subscriber is not None

    def pass_time(self, seconds: int) -> None:
        """Let seconds pass, in which the client answers pings."""
        for _ in range(seconds):
            self._server.clock.advance(1)
            self._server.clock.advance(0)
            if "websocket" in self._name and self.is_open:
                self._send(PONG)

    def _send(self, data: bytes) -> None:
        protocol: Any = self.transport.protocol
        protocol.dataReceived(data)


each_transport = pytest.mark.parametrize("name", PATHS)


@each_transport
async def test_warning_precedes_the_expiry_by_half_a_minute(server: InMemoryServer, name: str) -> None:
    connection = Connection(server, name)
    connection.pass_time(EXPIRES - 30 - 2)
    assert b"expiring" not in connection.output.lower()
    connection.pass_time(3)
    assert connection.output.count(WARNINGS.get(name, b"no warning")) == (name in WARNINGS)
    assert connection.is_open


@each_transport
async def test_connection_is_closed_when_leeway_and_grace_have_passed(server: InMemoryServer, name: str) -> None:
    connection = Connection(server, name)
    connection.pass_time(END - 2)
    assert connection.is_open
    await server.publish("a", "before")
    connection.pass_time(3)
    assert not connection.is_open
    assert LAST.get(name, b"") in connection.output
    before = connection.output
    await server.publish("a", "after")
    assert b"after" not in connection.output[len(before) :]
    assert server.counters.disconnects["token-expired"] == 1


@each_transport
async def test_renewal_keeps_the_connection_open(server: InMemoryServer, name: str) -> None:
    connection = Connection(server, name)
    connection.pass_time(EXPIRES - 10)
    subscriber = connection.subscriber
    assert subscriber is not None
    renewed = await server.context.authenticator.authenticate("alice:a,b")
    peer = Peer("http", "::1", renewed.grant, renewed)
    assert server.hub.renew_credential(peer, subscriber.peer.id) == {}
    connection.pass_time(EXPIRES)
    assert connection.is_open
    connection.pass_time(END - EXPIRES)
    assert not connection.is_open


@each_transport
async def test_closed_connections_are_not_watched(server: InMemoryServer, name: str) -> None:
    connection = Connection(server, name)
    assert len(server.hub.credentials) == 1
    server.lose(connection.transport)
    assert len(server.hub.credentials) == 0


async def test_renewal_drops_topics_and_closes_a_connection_without_any(server: InMemoryServer) -> None:
    connection = Connection(server, "stream")
    subscriber = connection.subscriber
    assert subscriber is not None
    other = await server.context.authenticator.authenticate("alice:b")
    lost = server.hub.renew_credential(Peer("http", "::1", other.grant, other), subscriber.peer.id)
    assert list(lost) == ["a"]
    assert not connection.is_open


async def test_renewal_needs_a_token_of_the_same_subject(server: InMemoryServer) -> None:
    connection = Connection(server, "stream")
    subscriber = connection.subscriber
    assert subscriber is not None
    bob = await server.context.authenticator.authenticate("bob:a")
    with pytest.raises(UnknownConnection) as unknown:
        server.hub.renew_credential(Peer("http", "::1", bob.grant, bob), "no such connection")
    with pytest.raises(UnknownConnection) as foreign:
        server.hub.renew_credential(Peer("http", "::1", bob.grant, bob), subscriber.peer.id)
    assert str(unknown.value) == str(foreign.value)
    with pytest.raises(TokenMissing):
        server.hub.renew_credential(Peer("http", "::1", NOTHING), subscriber.peer.id)
    with pytest.raises(Forbidden):
        server.hub.credentials.accept(subscriber, bob)


@pytest.mark.parametrize(
    ("path", "headers", "is_told"),
    [
        ("/sse/a", {"Last_Event_ID": "E-1"}, True),
        ("/sse/a?lastEventId=E-1", {}, True),
        ("/sse/a?since=E-1", {}, True),
        ("/sub/a", {"Last_Event_ID": "E-1", "Accept": "text/event-stream"}, True),
        ("/sse/a", {}, False),
        ("/stream/a?since=E-1", {}, False),
        ("/longpoll/a?since=E-1", {}, False),
    ],
)
async def test_reconnect_of_an_eventsource_whose_token_has_expired_is_told_so(
    server: InMemoryServer, path: str, headers: dict[str, str], is_told: bool
) -> None:
    transport = server.connect(is_http=True)
    protocol: Any = transport.protocol
    protocol.dataReceived(request(path, Authorization="Bearer expired:a", **headers))
    head, _, body = bytes(transport.value()).partition(b"\r\n\r\n")
    if is_told:
        assert head.startswith(b"HTTP/1.1 200 ")
        assert body == LAST["sse"]
        assert b"id:" not in body
    else:
        assert head.startswith(b"HTTP/1.1 401 ")
        assert json.loads(body)["error"]["code"] == "token-expired"
    assert not server.hub.queries.connections(DAEMON, None, None, 9)


@pytest.mark.parametrize("path", ["/longpoll/a", "/pull/a?interval=0&since=E-0"])
async def test_held_request_of_an_expired_token_is_refused(server: InMemoryServer, path: str) -> None:
    transport = server.connect(is_http=True)
    protocol: Any = transport.protocol
    protocol.dataReceived(request(path, Authorization="Bearer alice:a"))
    (subscriber,) = server.hub.queries.connections(DAEMON, None, None, 9)
    server.hub.disconnect(subscriber, TokenExpired("token has expired"))
    head, _, body = bytes(transport.value()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 401 ")
    assert json.loads(body)["error"]["code"] == "token-expired"


async def test_id_of_a_stream_is_in_a_header(server: InMemoryServer) -> None:
    connection = Connection(server, "sse")
    subscriber = connection.subscriber
    assert subscriber is not None
    assert f"\r\nPushd-Connection: {subscriber.peer.id}\r\n".encode() in connection.output


@pytest.mark.parametrize(
    ("issuer", "other", "subject", "is_same"),
    [
        ("shop", "shop", "alice", True),
        ("shop", "forum", "alice", False),
        ("shop", "shop", "bob", False),
        ("token:phone", "token:phone-2027", "alice", True),
        ("token:phone", "token:tablet", "bob", False),
        ("token:phone", "shop", "alice", False),
    ],
)
def test_credential_is_replaced_only_by_one_of_the_same_authority_and_subject(
    issuer: str, other: str, subject: str, is_same: bool
) -> None:
    first, second = Identity("alice", NOTHING, issuer), Identity(subject, NOTHING, other)
    assert first.is_same_as(second) is is_same
    assert second.is_same_as(first) is is_same


@pytest.mark.usefixtures("expected_failures")
async def test_warning_that_fails_closes_its_connection_and_the_others_are_warned(
    server: InMemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, other = Connection(server, "stream"), Connection(server, "stream")
    first, second = server.hub.queries.connections(DAEMON, None, None, 9)

    warn = Subscriber.warn_of_expiry

    def fail_once(subscriber: Subscriber, at: int) -> None:
        if subscriber is first:
            raise RuntimeError("a bug")
        warn(subscriber, at)

    monkeypatch.setattr(Subscriber, "warn_of_expiry", fail_once)
    other.pass_time(EXPIRES - 29)
    assert list(server.hub.queries.connections(DAEMON, None, None, 9)) == [second]
    assert WARNING in other.output
    assert WARNING not in broken.output
