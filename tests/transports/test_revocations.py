"""Revocation over each transport: a revoked peer receives nothing more, whatever was under way for it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from pushd.auth.authenticator import Authenticator
from pushd.auth.token_checks import Verdict
from pushd.core.errors import NoRequest, TokenRevoked
from pushd.core.grant import NOTHING, Grant
from pushd.core.identity import Identity
from pushd.core.message import draft
from pushd.core.peer import DAEMON
from pushd.core.subscriber import Subscriber
from tests.transports.in_memory_server import HANDSHAKE, InMemoryServer, ServerTransport, request
from tests.transports.test_live_connections import CASES, PUSHLET, Case, each_transport

SECRET = b"s3cret-text"
BEARER = {"Authorization": "Bearer alice"}


class OneToken:
    """A verifier that accepts each token as its subject."""

    async def verify(self, token: str) -> Identity | None:
        """See `Verifier`."""
        grant = Grant.parse({"subscribe": ["**"], "publish": ["**"]}, token, where="test")
        return Identity(token, grant, "shop", None, f"id-{token}", ("mobile",), -1.0)

    async def examine(self, token: str) -> Verdict | None:
        """See `Verifier`."""
        return Verdict(await self.verify(token))


@pytest_twisted.async_yield_fixture
async def server() -> AsyncIterator[InMemoryServer]:
    authenticator = Authenticator((OneToken(),), lambda: 0.0, NOTHING)
    running = InMemoryServer(queue_messages=100, authenticator=authenticator)
    authenticator.revocations = running.hub.revocations
    await running.start()
    yield running
    running.stop()


class Revoked:
    """A connection of alice, and one of bob."""

    def __init__(self, server: InMemoryServer, case: Case) -> None:
        self.server = server
        self.case = case
        self.transport = self._connect("alice")
        self.other = self._connect("bob")

    def _connect(self, subject: str) -> ServerTransport:
        transport = self.server.connect(is_http=self.case.is_http)
        data = b"AUTH %b\r\n%b" % (subject.encode(), self.case.subscribe)
        if self.case.is_http:
            data = self.case.subscribe.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer %b\r\n\r\n" % subject.encode())
        protocol: Any = transport.protocol
        protocol.dataReceived(data)
        return transport

    @property
    def output(self) -> bytes:
        """What alice has received."""
        return bytes(self.transport.value())

    def subscribers(self) -> list[Subscriber]:
        """Return the open subscribers."""
        return list(self.server.hub.queries.connections(DAEMON, None, None, 9))

    async def revoke(self) -> None:
        """Revoke the token of alice."""
        await self.server.hub.revocations.revoke(DAEMON, ("sub", "alice"))
        self.server.clock.pump([0] * 5)

    def check_ended(self) -> None:
        """Check that alice has gone within a second, and nobody else."""
        assert "alice" not in [each.peer.identity and each.peer.identity.subject for each in self.subscribers()]
        assert self.server.counters.disconnects.total() == 1
        assert self.server.counters.disconnects["token-revoked"] == 1
        self.server.clock.pump([0.1] * 10)
        assert self.transport.disconnecting or self.transport.disconnected or b"401" in self.output


@each_transport((*CASES, PUSHLET))
async def test_open_connection_is_closed_and_told_why(server: InMemoryServer, case: Case) -> None:
    pair = Revoked(server, case)
    assert len(pair.subscribers()) == 2
    before = pair.output
    await pair.revoke()
    await server.publish("a", SECRET.decode())
    pair.check_ended()
    after = pair.output.removeprefix(before)
    assert SECRET not in after
    assert SECRET in pair.other.value()
    told = {
        "sse": b'event: expired\ndata: {"type":"expired","code":"token-revoked"}\n\n',
        "websocket": (4401).to_bytes(2),
        "longpoll": b"token-revoked",
        "pull": b"token-revoked",
        "tcp": b"-ERR token-revoked",
        "pushlet-stream": b'p_event="abort"',
    }
    assert told.get(case.name, b"") in after
    if case.name in ("longpoll", "pull"):
        assert after.startswith(b"HTTP/1.1 401 ")
        assert b'error="invalid_token"' in after


@each_transport((*(case for case in CASES if case.name not in ("longpoll", "pull")), PUSHLET))
async def test_queue_is_dropped(server: InMemoryServer, case: Case) -> None:
    pair = Revoked(server, case)
    assert pair.transport.producer is not None
    pair.transport.producer.pauseProducing()
    await server.publish("a", SECRET.decode())
    assert SECRET not in pair.output
    (subscriber, _) = pair.subscribers()
    assert subscriber.queued_bytes
    await pair.revoke()
    pair.check_ended()
    if pair.transport.producer is not None:
        pair.transport.producer.resumeProducing()
    await server.publish("a", SECRET.decode())
    assert SECRET not in pair.output
    assert pair.transport.disconnected, "a connection with unsent output must be aborted"
    assert server.hub.budget.used == 0


@each_transport()
async def test_replay_is_ended(server: InMemoryServer, case: Case) -> None:
    await server.publish("a", SECRET.decode())
    server.backend.reading = reading = Deferred[None]()
    subscribe = case.subscribe if case.name == "pull" else case.subscribe.replace(b"/a", b"/a?since=all")
    pair = Revoked(server, case._replace(subscribe=subscribe.replace(b"SUB a", b"SUB a since=all")))
    assert server.backend.readers == 2
    await server.publish("a", "held beside the replay")
    await pair.revoke()
    reading.callback(None)
    server.clock.pump([0] * 20)
    assert SECRET not in pair.output
    assert b"held beside" not in pair.output
    assert b"held beside" in pair.other.value()
    assert server.counters.disconnects["token-revoked"] == 1


@each_transport()
async def test_subscription_that_is_being_opened_is_refused(server: InMemoryServer, case: Case) -> None:
    server.backend.opening = opening = Deferred[None]()
    pair = Revoked(server, case)
    before = pair.output
    await pair.revoke()
    opening.callback(None)
    server.clock.pump([0] * 5)
    await server.publish("a", SECRET.decode())
    after = pair.output.removeprefix(before)
    assert SECRET not in after
    if case.is_http and case.name != "websocket":
        assert after.startswith(b"HTTP/1.1 401 ")
    assert server.counters.disconnects["token-revoked"] == 1


async def test_session_whose_cursor_is_being_read_does_not_begin(server: InMemoryServer) -> None:
    server.backend.opening = opening = Deferred[None]()
    pair = Revoked(server, PUSHLET)
    await pair.revoke()
    opening.callback(None)
    server.clock.pump([0] * 5)
    await server.publish("a", SECRET.decode())
    assert SECRET not in pair.output
    assert pair.output.startswith(b"HTTP/1.1 401 ")
    assert SECRET in pair.other.value()


async def test_history_that_is_being_read_is_not_answered(server: InMemoryServer) -> None:
    await server.publish("a", SECRET.decode())
    server.backend.reading = reading = Deferred[None]()
    peer = server.connect(is_http=False)
    protocol: Any = peer.protocol
    protocol.dataReceived(b"AUTH alice\r\nHIST a 10\r\n")
    assert server.backend.readers == 1
    await server.hub.revocations.revoke(DAEMON, ("jti", "id-alice"))
    server.clock.pump([0] * 5)
    reading.callback(None)
    server.clock.pump([0] * 5)
    assert SECRET not in peer.value()
    assert peer.value().endswith(b"-ERR token-revoked token has been revoked\r\n")


@pytest.mark.parametrize("key", [("sub", "alice"), ("jti", "id-alice"), ("tag", "mobile")])
async def test_new_connections_are_refused_although_the_token_is_cached(server: InMemoryServer, key: Any) -> None:
    assert await server.context.authenticator.authenticate("alice")
    await server.hub.revocations.revoke(DAEMON, key)
    with pytest.raises(TokenRevoked):
        await server.context.authenticator.authenticate("alice")
    verdict = await server.context.authenticator.examine("alice")
    assert (verdict.identity, type(verdict.refusal), verdict.check) == (None, TokenRevoked, "revocation")
    assert verdict.claim == {"tag": "tags"}.get(key[0], key[0])
    for case in CASES:
        if case.is_http:
            transport = server.connect(is_http=True)
            protocol: Any = transport.protocol
            protocol.dataReceived(case.subscribe.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer alice\r\n\r\n"))
            answer = bytes(transport.value())
            if b"pushd.v1" in case.subscribe:
                assert answer.startswith(b"HTTP/1.1 101 ")
                assert (4401).to_bytes(2) in answer
            else:
                assert answer.startswith(b"HTTP/1.1 401 ")
                assert b"token-revoked" in answer
    lines = server.connect(is_http=False)
    protocol = lines.protocol
    protocol.dataReceived(b"AUTH alice\r\nSUB a\r\n")
    assert b"-ERR token-revoked" in lines.value()
    assert len(server.hub.queries.connections(DAEMON, "a", None, 9)) == 0


async def test_reconnecting_event_source_is_told_and_does_not_come_back_soon(server: InMemoryServer) -> None:
    await server.hub.revocations.revoke(DAEMON, ("sub", "alice"))
    transport = server.connect(is_http=True)
    protocol: Any = transport.protocol
    protocol.dataReceived(request("/sse/a", Last_Event_ID="E-1", **BEARER))
    head, _, body = bytes(transport.value()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    lines = body.decode().split("\n")
    (data,) = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    (retry,) = [int(line.removeprefix("retry: ")) for line in lines if line.startswith("retry: ")]
    assert (data, retry) == ({"type": "expired", "code": "token-revoked"}, 3_600_000)
    assert "event: expired" in lines
    assert not any(line.startswith("id:") for line in lines)


async def test_blind_node_refuses_tokens_and_an_event_source_tries_again(
    server: InMemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(server.backend), "revocations_age", 30.1)
    for path, headers in (("/stream/a", {}), ("/longpoll/a", {}), ("/ws/a", HANDSHAKE)):
        transport = server.connect(is_http=True)
        protocol: Any = transport.protocol
        protocol.dataReceived(request(path, **BEARER, **headers))
        assert transport.value().startswith(b"HTTP/1.1 503 ")
        assert b"unavailable" in transport.value()
    events = server.connect(is_http=True)
    protocol = events.protocol
    protocol.dataReceived(request("/sse/a", **BEARER))
    assert events.value().startswith(b"HTTP/1.1 200 ")
    assert b"retry: " in events.value()
    assert len(server.hub.queries.connections(DAEMON, None, None, 9)) == 0
    monkeypatch.setattr(type(server.backend), "revocations_age", 29.9)
    assert await server.context.authenticator.authenticate("alice")


@pytest_twisted.ensureDeferred
async def test_asker_gets_no_reply(server: InMemoryServer) -> None:
    """By HTTP it is no connection that revocations close; it is refused at once."""
    responder = server.connect(is_http=True)
    responder.protocol.dataReceived(request("/stream/a", Authorization="Bearer bob"))
    asker = server.connect(is_http=True)
    post = request("/request/a", Authorization="Bearer alice", Content_Length="1").replace(b"GET", b"POST", 1)
    asker.protocol.dataReceived(post + b"x")
    (open_request,) = server.hub.requests._open.all
    await server.hub.revocations.revoke(DAEMON, ("sub", "alice"))
    server.clock.pump([0] * 5)
    with pytest.raises(NoRequest):
        await server.hub.publish(DAEMON, draft(f"$reply/{open_request.token}", SECRET))
    answer = bytes(asker.value())
    assert SECRET not in answer
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"token-revoked" in answer
