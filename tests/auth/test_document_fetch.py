"""Fetching a document from a real server on loopback, which fails, redirects, is slow, too large or compressed."""

import gzip
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.web.client import Agent

from pushd.auth.document_fetch import TIMEOUT_SECONDS, fetch_document
from pushd.net.outgoing_requests import MAX_BYTES, OutgoingRequest, RequestFailed, Send, send_request


def response(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("ascii") + body


class DocumentServer(Factory):
    """A server that answers every request with the same bytes."""

    noisy = False

    def __init__(self) -> None:
        self.answer = b""
        self.closes = False
        self.requests: list[bytes] = []
        self.received: Deferred[None] = Deferred()
        self.lost: Deferred[None] = Deferred()
        self.url = ""

    def buildProtocol(self, addr: object) -> Protocol:
        return _ServerConnection(self)


class _ServerConnection(Protocol):
    transport: Any

    def __init__(self, server: DocumentServer) -> None:
        self._server = server

    def dataReceived(self, data: bytes) -> None:
        self._server.requests.append(data)
        self.transport.write(self._server.answer)
        if self._server.closes:
            self.transport.loseConnection()
        if not self._server.received.called:
            self._server.received.callback(None)

    def connectionLost(self, reason: object = None) -> None:
        if not self._server.lost.called:
            self._server.lost.callback(None)


@pytest_twisted.async_yield_fixture
async def server() -> AsyncIterator[DocumentServer]:
    from twisted.internet import reactor

    served: Any = DocumentServer()
    port: Any = reactor.listenTCP(0, served, interface="127.0.0.1")
    served.url = f"http://127.0.0.1:{port.getHost().port}/keys"
    yield served
    await port.stopListening()


def sending(agent: Any, clock: Any) -> Send:
    """Return what sends requests with an agent."""

    async def send(request: OutgoingRequest) -> bytes:
        return await send_request(agent, request, clock)

    return send


async def fetch(server: DocumentServer) -> bytes:
    from twisted.internet import reactor

    return await fetch_document(sending(Agent(reactor), reactor), server.url)


@pytest_twisted.ensureDeferred
async def test_fetches(server):
    server.answer = response(b'{"keys":[]}')
    assert await fetch(server) == b'{"keys":[]}'
    [request] = server.requests
    assert request.startswith(b"GET /keys HTTP/1.1\r\n")
    assert b"accept-encoding: identity\r\n" in request.lower()
    await server.lost


@pytest_twisted.ensureDeferred
async def test_a_body_without_length_ends_with_the_connection(server):
    server.answer, server.closes = b"HTTP/1.1 200 OK\r\n\r\nabc", True
    assert await fetch(server) == b"abc"


FAILURES = [
    (response(b"x", "500 Error"), "the response has the status 500"),
    (response(b"", "404 Not Found"), "the response has the status 404"),
    (response(b"", "204 No Content"), "the response has the status 204"),
    (response(b"x" * (MAX_BYTES + 1)), f"the response exceeds {MAX_BYTES} bytes"),
    (
        response(gzip.compress(b"x" * 10_000_000), "200 OK", "Content-Encoding: gzip"),
        "the response is compressed, although the request does not accept that",
    ),
    *(
        (
            response(b"", f"{code} Moved", "Location: http://127.0.0.1:1/evil"),
            f"the response has the status {code} (redirects are not followed)",
        )
        for code in (301, 302, 303, 307, 308)
    ),
]


@pytest.mark.parametrize(("answer", "reason"), FAILURES, ids=range(len(FAILURES)))
@pytest_twisted.ensureDeferred
async def test_failures_close_the_connection(server, answer, reason):
    server.answer = answer
    with pytest.raises(RequestFailed) as raised:
        await fetch(server)
    assert str(raised.value) == reason
    await server.lost
    assert len(server.requests) == 1


@pytest_twisted.ensureDeferred
async def test_the_largest_document(server):
    server.answer = response(b"x" * MAX_BYTES)
    assert len(await fetch(server)) == MAX_BYTES


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"])
@pytest_twisted.ensureDeferred
async def test_a_connection_that_is_cut(server, answer):
    server.answer, server.closes = answer, True
    with pytest.raises(RequestFailed) as raised:
        await fetch(server)
    assert str(raised.value)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"])
@pytest_twisted.ensureDeferred
async def test_a_slow_server_is_given_up(server, answer):
    """In whichever part of the response it stops; the connection is closed."""
    from twisted.internet import reactor

    clock: Any = Clock()
    server.answer = answer
    fetching = Deferred.fromCoroutine(fetch_document(sending(Agent(reactor), clock), server.url))
    await server.received
    clock.advance(TIMEOUT_SECONDS - 0.1)
    assert not fetching.called
    clock.advance(0.2)
    with pytest.raises(RequestFailed, match="no complete response within 5 seconds"):
        await fetching
    await server.lost


@pytest_twisted.ensureDeferred
async def test_a_slow_body_is_given_up(server):
    """After the head of the response was read; the connection is closed."""
    from twisted.internet import reactor

    class SignallingAgent:
        responded: Deferred[None] = Deferred()

        def request(self, *args: Any) -> Deferred[Any]:
            def signal(result: Any) -> Any:
                reactor.callLater(0, self.responded.callback, None)
                return result

            return Agent(reactor).request(*args).addCallback(signal)

    clock, agent = Clock(), SignallingAgent()
    untyped: Any = agent
    server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"
    fetching = Deferred.fromCoroutine(fetch_document(sending(untyped, clock), server.url))
    await agent.responded
    assert not server.lost.called
    clock.advance(TIMEOUT_SECONDS)
    with pytest.raises(RequestFailed, match="no complete response within 5 seconds"):
        await fetching
    await server.lost


UNFINISHED = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + b"x" * (MAX_BYTES + 1), "exceeds"),
    (b"HTTP/1.1 500 Error\r\nContent-Length: 9999999\r\n\r\nabc", "500"),
]


@pytest.mark.parametrize(("answer", "reason"), UNFINISHED, ids=["large", "status"])
@pytest_twisted.ensureDeferred
async def test_the_rest_of_a_failed_response_is_not_awaited(server, answer, reason):
    server.answer = answer
    with pytest.raises(RequestFailed, match=reason):
        await fetch(server)
    await server.lost


@pytest_twisted.ensureDeferred
async def test_nobody_listens(server):
    server.url = "http://127.0.0.1:1/keys"
    with pytest.raises(RequestFailed, match="refused"):
        await fetch(server)
