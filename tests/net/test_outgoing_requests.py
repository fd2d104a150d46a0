"""Outgoing requests to a real server on loopback. How responses are bounded: tests/auth/test_document_fetch.py."""

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.web.client import Agent

from pushd.net.outgoing_requests import OutgoingRequest, QuietConnectionPool, RequestFailed, send_request
from tests.auth.test_document_fetch import DocumentServer, response, server

__all__ = ["server"]


@pytest_twisted.ensureDeferred
async def test_a_body_and_headers_are_sent_and_no_cookie_is_kept(server: DocumentServer) -> None:
    from twisted.internet import reactor

    pool = QuietConnectionPool(reactor, persistent=True)
    agent = Agent(reactor, pool=pool)
    server.answer = response(b"{}", "200 OK", "Set-Cookie: a=b")
    request = OutgoingRequest("POST", server.url, {"X-Signature": "s"}, b'{"a":1}')
    events: list[str] = []

    def watch(event: Any) -> None:
        events.append(formatEvent(event))

    untyped: Any = watch
    globalLogPublisher.addObserver(untyped)
    try:
        for _ in range(2):
            assert await send_request(agent, request, reactor) == b"{}"
    finally:
        globalLogPublisher.removeObserver(untyped)
        await pool.closeCachedConnections()
    assert not [event for event in events if "factory" in event]
    for sent in server.requests:
        head, _, body = sent.partition(b"\r\n\r\n")
        assert head.startswith(b"POST /keys HTTP/1.1\r\n")
        assert b"x-signature: s" in head.lower()
        assert b"content-length: 7" in head.lower()
        assert b"cookie" not in head.lower()
        assert body == b'{"a":1}'
    await server.lost


@pytest_twisted.ensureDeferred
async def test_a_request_on_a_connection_that_the_server_closes_is_sent_again(server: DocumentServer) -> None:
    from twisted.internet import reactor

    pool = QuietConnectionPool(reactor, persistent=True)
    agent = Agent(reactor, pool=pool)
    server.answer, server.closes = response(b"{}"), True
    try:
        for _ in range(3):  # each at once, before the end of the previous connection is read
            assert await send_request(agent, OutgoingRequest("POST", server.url, {}, b"x"), reactor) == b"{}"
    finally:
        await pool.closeCachedConnections()


@pytest_twisted.ensureDeferred
async def test_a_request_is_sent_at_most_twice(server: DocumentServer) -> None:
    from twisted.internet import reactor

    server.answer, server.closes = b"", True
    with pytest.raises(RequestFailed, match="closed cleanly"):
        await send_request(Agent(reactor), OutgoingRequest("POST", server.url, {}, b"x"), reactor)
    assert len(server.requests) == 2


@pytest_twisted.ensureDeferred
async def test_a_request_without_an_answer_in_time_is_sent_once(server: DocumentServer) -> None:
    from twisted.internet import reactor

    clock = Clock()
    request = OutgoingRequest("POST", server.url, {}, b"x", timeout=0.05)
    sending = Deferred.fromCoroutine(send_request(Agent(reactor), request, clock))
    await server.received
    clock.advance(0.05)
    with pytest.raises(RequestFailed, match=r"within 0\.05 seconds"):
        await sending
    await server.lost
    assert len(server.requests) == 1


@pytest.mark.parametrize("url", ["http://[::1]:9/x?y=1", "http://[fd12::1]/", "https://app.example.org/x%20y?z"])
@pytest_twisted.ensureDeferred
async def test_host_may_be_an_ipv6_address(url: str) -> None:
    from twisted.internet import reactor

    class Recorder:
        def __init__(self) -> None:
            self.uris: list[bytes] = []

        def request(self, method: bytes, uri: bytes, *rest: object) -> Any:
            self.uris.append(uri)
            return fail(OSError("not sent"))

    agent: Any = Recorder()
    with pytest.raises(RequestFailed, match="not sent"):
        await send_request(agent, OutgoingRequest("GET", url), reactor)
    assert agent.uris == [url.encode()]
