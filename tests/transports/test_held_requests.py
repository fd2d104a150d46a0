"""Held requests whose time is over are answered from the history that was read, for which they wait a little."""

from collections.abc import AsyncIterator

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from tests.transports.in_memory_server import InMemoryServer, ServerTransport, request

NEXT = request("/pub/a", X_More="x" * 10_000)
"""A pipelined request that is not buffered while the one before it is held, which therefore is answered at once."""


@pytest_twisted.async_yield_fixture
async def server() -> AsyncIterator[InMemoryServer]:
    """A server with a message, whose history is read slowly."""
    server = await InMemoryServer().start()
    await server.publish("a", "kept")
    server.backend.reading = Deferred()
    yield server
    if not server.backend.reading.called:
        server.backend.reading.callback(None)
    server.stop()


def poll(server: InMemoryServer, timeout: int, after: bytes = b"") -> ServerTransport:
    """Poll the newest messages, until the history is being read."""
    client = server.connect(is_http=True)
    client.protocol.dataReceived(request(f"/longpoll/a?since=last:9&timeout={timeout}") + after)
    assert server.backend.readers == 1
    return client


@pytest.mark.parametrize(("timeout", "after"), [(0, b""), (1, b""), (20, NEXT)], ids=["at once", "late", "hurried"])
async def test_answer_waits_for_the_history(server: InMemoryServer, timeout: int, after: bytes) -> None:
    client = poll(server, timeout, after)
    server.clock.advance(2)
    assert client.value() == b""
    assert server.backend.reading is not None
    server.backend.reading.callback(None)
    server.clock.advance(0)
    assert client.value().startswith(b"HTTP/1.1 200") and b'"data":"kept"' in client.value()


@pytest.mark.parametrize("timeout", [0, 4])
async def test_history_that_cannot_be_read_is_not_waited_for_long(server: InMemoryServer, timeout: int) -> None:
    client = poll(server, timeout)
    for seconds in (4.2, 5.2):
        assert client.value() == b""
        server.clock.advance(seconds)
    assert client.value().startswith(b"HTTP/1.1 204")


async def test_answer_without_messages_comes_at_once(server: InMemoryServer) -> None:
    client = server.connect(is_http=True)
    client.protocol.dataReceived(request("/longpoll/other?timeout=0"))
    assert client.value().startswith(b"HTTP/1.1 204")


async def test_timeout_is_accurate_to_a_fifth_of_a_second(server: InMemoryServer) -> None:
    client = server.connect(is_http=True)
    client.protocol.dataReceived(request("/longpoll/other?timeout=0.3"))
    server.clock.advance(0.29)
    assert client.value() == b""
    server.clock.advance(0.2)
    assert client.value().startswith(b"HTTP/1.1 204")
