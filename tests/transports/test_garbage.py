"""Closed connections leave nothing for the garbage collector, which would take long after a mass disconnect."""

import gc
from collections.abc import Iterator

import pytest

from pushd.core.subscriber import Subscriber
from pushd.http.connection import HttpConnection
from pushd.http.request_reader import RequestReader
from pushd.transports.http_stream import HttpStream
from pushd.transports.tcp_lines import LineConnection
from pushd.transports.websocket import WebSocket
from tests.transports.daemon import turns
from tests.transports.every_client import each_client
from tests.transports.line_client import JsonLines
from tests.transports.stream_client import LineStream, Sse
from tests.transports.websocket_client import JsonWebSocket

_CLASSES = (HttpConnection, RequestReader, HttpStream, LineConnection, Subscriber, WebSocket)
_TURNS = 200


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def connection_objects() -> int:
    """Return the number of objects of connections created since the last collection."""
    return sum(isinstance(found, _CLASSES) for found in gc.get_objects(generation=0))


@each_client((Sse, LineStream, JsonWebSocket, JsonLines))
async def test_a_closed_connection_is_freed_without_the_garbage_collector(start_daemon, no_collector, client_class):
    daemon = await start_daemon({})
    await daemon.publish("a", "one")
    await turns()
    before = connection_objects()
    client = client_class(daemon)
    await client.subscribe("a", since="all")
    await client.receive(1)
    assert connection_objects() > before
    client.disconnect()
    for _ in range(_TURNS):
        if connection_objects() > before:
            await turns(1)
    assert connection_objects() == before
