"""Listeners behind the PROXY protocol count, log and list the clients by their own addresses."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.clients import SECONDS, Client, Http
from tests.daemon.real import START_SECONDS, Daemon, eventually

pytestmark = pytest.mark.system

HANDSHAKE = (
    b"GET /ws/a HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


class Proxied(Daemon):
    """A daemon with listeners for a proxy, and at most two connections for each address."""

    def __init__(self, folder: Path) -> None:
        listen = "haproxy:tcp:0:interface=127.0.0.1"
        super().__init__(folder, "--http", listen, "--tcp", listen, "--limits-connections-per-address", "2")
        assert eventually(lambda: len(re.findall(r"(?:http|tcp) listens on", self.log)) == 4, START_SECONDS)

    def connect(self, name: str, client: str) -> socket.socket:
        """Connect as a proxy does for a client."""
        port = int(re.findall(rf"{name} listens on 127.0.0.1:(\d+)", self.log)[1])
        sock = socket.create_connection(("127.0.0.1", port), SECONDS)
        sock.sendall(f"PROXY TCP4 {client} 192.0.2.1 4711 80\r\n".encode())
        return sock

    def addresses(self) -> list[str]:
        """Return the addresses of the listed connections."""
        return sorted(each["address"] for each in self.request("GET", "/connections").json())


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Proxied]:
    """A started daemon."""
    daemon = Proxied(tmp_path)
    yield daemon
    daemon.assert_healthy()
    daemon.stop()


def test_clients_of_both_protocols_have_their_addresses(daemon: Proxied) -> None:
    with (
        Http(daemon.connect("http", "192.0.2.7")) as stream,
        Client(daemon.connect("http", "192.0.2.8")) as websocket,
        Client(daemon.connect("tcp", "192.0.2.9")) as lines,
    ):
        stream.open_stream("/stream/a")
        websocket.send(HANDSHAKE)
        lines.send(b"SUB a\r\n")
        assert lines.line().startswith(b"INFO ")
        assert lines.line().startswith(b"+OK SUB a")
        assert eventually(lambda: daemon.addresses() == ["192.0.2.7", "192.0.2.8", "192.0.2.9"])
        assert daemon.publish("a")["subscribers"] == 3
        assert lines.line().startswith(b"MSG a ")
        lines.half_close()
        assert lines.rest() == b""


def test_connections_are_limited_by_the_address_of_the_client(daemon: Proxied) -> None:
    with (
        Client(daemon.connect("tcp", "192.0.2.7")) as first,
        Client(daemon.connect("tcp", "192.0.2.7")) as second,
        Client(daemon.connect("tcp", "192.0.2.7")) as third,
        Client(daemon.connect("tcp", "192.0.2.8")) as other,
        Http(daemon.connect("http", "192.0.2.7")) as http,
    ):
        assert [each.line()[:5] for each in (first, second, third, other)] == [b"INFO "] * 2 + [b"-ERR ", b"INFO "]
        assert http.rest() == b""
        assert eventually(lambda: "tcp 192.0.2.7: refused, too-many-connections" in daemon.log, START_SECONDS)


def test_address_remains_that_of_the_client_after_a_stream(daemon: Proxied) -> None:
    daemon.publish("a?end=1")
    with Http(daemon.connect("http", "192.0.2.7")) as http:
        assert http.request("GET", "/stream/a?since=all").status == 200
        http.open_stream("/stream/b")
        assert daemon.addresses() == ["192.0.2.7"]


def test_connection_without_a_header_is_logged_and_closed(daemon: Proxied) -> None:
    port = int(re.findall(r"http listens on 127.0.0.1:(\d+)", daemon.log)[1])
    with Client(port) as client:
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        assert client.rest() == b""
    sentence = "http 127.0.0.1: refused, bad-request: the connection does not begin with a PROXY protocol header"
    assert eventually(lambda: sentence in daemon.log, START_SECONDS)
