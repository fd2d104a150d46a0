"""Varnish, configured as in docs/proxies.md, delays no transport and keeps every cursor."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.daemon.clients import SECONDS, Http, Response
from tests.daemon.real import Daemon
from tests.system.proxies import documented
from tests.system.stream_clients import STREAMS, Stream, StreamTransport
from tests.system.varnish import Varnish

pytestmark = pytest.mark.system

_numbers = count(1)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The daemon behind Varnish."""
    daemon = Daemon(tmp_path_factory.mktemp("pushd"))
    try:
        yield daemon
        daemon.assert_healthy()
    finally:
        daemon.stop()


@pytest.fixture(scope="module")
def varnish(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of Varnish in front of the daemon."""
    yield from run(daemon.http_port, tmp_path_factory)


@pytest.fixture(scope="module")
def unreachable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of Varnish in front of nothing."""
    yield from run(1, tmp_path_factory)


@pytest.fixture
def channel() -> str:
    """A channel that no other test uses."""
    return f"varnish/{next(_numbers)}"


def run(port: int, factory: pytest.TempPathFactory) -> Iterator[int]:
    (vcl,) = documented("vcl")
    assert '"8080"' in vcl
    varnish = Varnish(factory.mktemp("varnish"), vcl.replace('"8080"', f'"{port}"'))
    try:
        yield varnish.ports["www"]
    finally:
        varnish.stop()


def get(port: int, target: str, headers: dict[str, str] | None = None) -> Response:
    with Http(port) as http:
        return http.request("GET", target, headers)


@pytest.mark.parametrize("transport", STREAMS, ids=lambda transport: transport.name)
def test_stream_is_not_delayed(varnish: int, daemon: Daemon, channel: str, transport: StreamTransport):
    with Stream(varnish, transport, channel) as stream:
        for number in range(1, 4):
            daemon.publish(channel, b"text", Content_Type=transport.publish_as)
            assert stream.wait_for_messages(number) == [b"text"] * number


@pytest.mark.parametrize("resource", ["poll", "longpoll"])
def test_cursor_in_if_none_match_is_forwarded(varnish: int, daemon: Daemon, channel: str, resource: str):
    etag = get(varnish, f"/poll/{channel}").headers["etag"]
    texts = list[Any]()
    for text in (b"1", b"2"):
        daemon.publish(channel, text)
        response = get(varnish, f"/{resource}/{channel}", {"If-None-Match": etag})
        texts += [message["data"] for message in response.json()]
        etag = response.headers["etag"]
    assert texts == ["1", "2"]


def test_websocket_is_not_delayed(varnish: int, daemon: Daemon, channel: str):
    with connect(f"ws://127.0.0.1:{varnish}/ws/{channel}", proxy=None, open_timeout=SECONDS) as socket:
        daemon.publish(channel, b"text")
        assert socket.recv(SECONDS) == "text"


def test_event_source_reconnects_while_pushd_is_down(unreachable: int):
    response = get(unreachable, "/sse/a")
    assert (response.status, response.headers["content-type"]) == (200, "text/event-stream")
    assert response.body == b"retry: 3000\n"
    assert get(unreachable, "/stream/a").status == 503
