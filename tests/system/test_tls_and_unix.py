"""TLS and Unix socket listeners."""

import datetime
import ipaddress
import json
import os
import re
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets import Subprotocol
from websockets.sync.client import connect

from tests.daemon.real import Daemon, eventually

pytestmark = pytest.mark.system

SECONDS = 30.0
LARGE = b"x" * 300_000


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a key and a self-signed certificate for this machine."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "key.pem", folder / "cert.pem"
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    paths[0].write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
    paths[1].write_bytes(certificate.public_bytes(pem))
    return paths


class Peer:
    """A connection to one of the listeners."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._received = b""

    def send(self, data: bytes) -> "Peer":
        """Send bytes."""
        self.sock.sendall(data)
        return self

    def until(self, words: bytes) -> bytes:
        """Read until some bytes arrive; return everything up to them."""
        while words not in self._received:
            more = self.sock.recv(65536)
            assert more, f"closed after {self._received[-200:]!r}"
            self._received += more
        head, words, self._received = self._received.partition(words)
        return head + words


class Listeners:
    """The listeners of a daemon."""

    def __init__(self, daemon: Daemon, folder: Path) -> None:
        assert eventually(lambda: len(self._listeners(daemon, "tcp")) == 2, SECONDS), daemon.log
        self.daemon = daemon
        self.http = self._listeners(daemon, "http")
        self.tcp = self._listeners(daemon, "tcp")
        self.context = ssl.create_default_context(cafile=str(folder / "cert.pem"))
        self.browsers = ssl.create_default_context(cafile=str(folder / "cert.pem"))
        self.browsers.set_alpn_protocols(["h2", "http/1.1"])

    @staticmethod
    def _listeners(daemon: Daemon, name: str) -> list[str]:
        return re.findall(rf"{name} listens on (\S+)", daemon.log)

    def connect(self, kind: str, port: int = 0) -> Peer:
        """Connect over ``tls`` or ``unix``."""
        if kind == "unix":
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(SECONDS)
            sock.connect(self.http[2])
            return Peer(sock)
        plain = socket.create_connection(("127.0.0.1", port or self.tls_port), SECONDS)
        context = self.context if port else self.browsers
        return Peer(context.wrap_socket(plain, server_hostname="127.0.0.1"))

    @property
    def tls_port(self) -> int:
        """The port of the TLS listener for HTTP."""
        return int(self.http[1].rpartition(":")[2])


@pytest.fixture(scope="module")
def listeners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listeners]:
    """A daemon with all kinds of listeners."""
    folder = tmp_path_factory.mktemp("listeners")
    key, certificate = make_certificate(folder)
    tls = f"ssl:0:privateKey={key}:certKey={certificate}:interface=127.0.0.1"
    daemon = Daemon(folder, "--http", tls, "--http", f"unix:{folder}/http.sock", "--tcp", tls)
    yield Listeners(daemon, folder)
    daemon.stop()
    assert "Traceback" not in daemon.log


def request(method: str, target: str, body: bytes = b"") -> bytes:
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize("kind", ["tls", "unix"])
def test_connection_serves_requests_around_a_finite_stream(listeners: Listeners, kind: str):
    channel = f"finite/{kind}"
    peer = listeners.connect(kind)
    assert peer.send(request("POST", f"/pub/{channel}", LARGE)).until(b"}\n").startswith(b"HTTP/1.1 202 ")
    peer.send(request("GET", f"/stream/{channel}?since=all"))
    assert LARGE in peer.until(b'"}\n')
    listeners.daemon.publish(f"{channel}?end=1", b"")
    peer.until(b"0\r\n\r\n")
    assert peer.send(request("GET", "/health/live")).until(b'{"live":true}').startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("kind", ["tls", "unix"])
def test_stream_receives_large_messages_in_order(listeners: Listeners, kind: str):
    channel = f"stream/{kind}"
    peer = listeners.connect(kind).send(request("GET", f"/sse/{channel}"))
    peer.until(b"\n\n")
    for number in range(0, 20, 2):
        for each in (number, number + 1):
            listeners.daemon.publish(channel, b"%d " % each + LARGE)
        for each in (number, number + 1):
            assert b"data: %d x" % each in peer.until(b"\n\n")


def test_unix_socket_is_accessible_to_its_user_and_group_only(listeners: Listeners):
    assert Path(listeners.http[2]).stat().st_mode & 0o777 == 0o660


def test_unix_socket_of_a_killed_daemon_is_taken_over(tmp_path: Path):
    address = tmp_path / "http.sock"
    first = Daemon(tmp_path, "--http", f"unix:{address}")
    first.publish("a")
    os.kill(first.pid, signal.SIGKILL)
    first.stop()
    lock = address.with_name("http.sock.lock")
    lock.write_text(f"{os.getpid()}\n")
    second = Daemon(tmp_path, "--http", f"unix:{address}")
    try:
        assert eventually(lambda: f"http listens on {address}" in second.log, SECONDS)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(address))
        second.publish("a")  # it runs: now a stop is orderly
    finally:
        second.stop()
    assert not address.exists()


def test_websocket_over_tls(listeners: Listeners):
    uri = f"wss://127.0.0.1:{listeners.tls_port}/ws"
    options: dict[str, Any] = {"subprotocols": [Subprotocol("pushd.v1")], "compression": None, "proxy": None}
    options["open_timeout"] = SECONDS
    with connect(uri, ssl=listeners.context, **options) as websocket:
        websocket.send(json.dumps({"subscribe": "wss"}))
        assert json.loads(websocket.recv(SECONDS))["ok"]
        listeners.daemon.publish("wss", LARGE)
        assert json.loads(websocket.recv(SECONDS))["data"] == LARGE.decode()
        assert websocket.ping().wait(SECONDS)


def test_lines_over_tls(listeners: Listeners):
    peer = listeners.connect("tls", int(listeners.tcp[1].rpartition(":")[2]))
    peer.send(b"SUB lines\r\n").until(b"+OK SUB lines cursor=")
    peer.send(b"PUB lines hello\r\n")
    assert b"MSG lines " in peer.until(b" hello\r\n")
