"""Outgoing requests to a real server on loopback. How responses are bounded: tests/auth/test_document_fetch.py."""

from typing import Any

import pytest_twisted
from twisted.logger import formatEvent, globalLogPublisher
from twisted.web.client import Agent

from pushd.net.outgoing_requests import OutgoingRequest, QuietConnectionPool, send_request
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
