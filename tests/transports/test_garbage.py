"""Connections that have ended leave nothing for the garbage collector, which would take long behind a crowd."""

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
from tests.transports.each import each
from tests.transports.line_client import JsonLines
from tests.transports.sockets import JsonSocket
from tests.transports.streams import LineStream, Sse

_PARTS = (HttpConnection, RequestReader, HttpStream, LineConnection, Subscriber, WebSocket)
_TURNS = 200


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def parts() -> int:
    """How many parts of connections there are that were made since the collector looked last."""
    return sum(isinstance(found, _PARTS) for found in gc.get_objects(generation=0))


@each((Sse, LineStream, JsonSocket, JsonLines))
async def test_one_who_has_left_is_freed_at_once(start_daemon, no_collector, way):
    daemon = await start_daemon({})
    await daemon.publish("a", "one")
    await turns()
    before = parts()
    peer = way(daemon)
    await peer.subscribe("a", since="all")
    await peer.heard(1)
    assert parts() > before
    peer.disconnect()
    for _ in range(_TURNS):
        if parts() > before:
            await turns(1)
    assert parts() == before
