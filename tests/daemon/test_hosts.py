"""Loopback listeners serve only hosts that nobody else can own (DNS rebinding)."""

import json
import re
import signal
import socket
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.daemon.clients import HANDSHAKE, SECONDS, Http, Response
from tests.daemon.real import ROOT, Daemon, eventually
from tests.daemon.test_refusals_http import ADDRESSES, METHODS
from tests.system.test_tls_and_unix import make_certificate

pytestmark = pytest.mark.system

FOREIGN_HOST = "evil.example"
CONFIGURED_HOST = "push.example.org"
EVERYWHERE = [*ADDRESSES, "/demo/", "/demo/chat", "/health", "/nope", "/favicon.ico?x"]
HANDSHAKES = ("/ws", "/ws/a", "/sub/a")
V1 = HANDSHAKE | {"Sec-WebSocket-Protocol": "pushd.v1"}
LISTENERS = ("tcp", "tcp6", "tls", "proxied", "unix", "open")
LOOPBACK_LISTENERS = ("tcp", "tcp6", "tls", "proxied")


class Listeners(Daemon):
    """A daemon with HTTP listeners of all kinds, and one configured host."""

    def __init__(self, folder: Path) -> None:
        key, certificate = make_certificate(folder)
        self.file = folder / "pushd.toml"
        self.write(CONFIGURED_HOST)
        self.path = str(folder / "http.sock")
        super().__init__(
            folder,
            *("--config", str(self.file), "--open"),
            *("--http", r"tcp6:0:interface=\:\:1"),
            *("--http", f"ssl:0:privateKey={key}:certKey={certificate}:interface=127.0.0.1"),
            *("--http", "haproxy:tcp:0:interface=127.0.0.1"),
            *("--http", f"unix:{self.path}"),
            *("--http", "tcp:0:interface=0.0.0.0"),
        )
        assert eventually(lambda: len(self._listening()) == len(LISTENERS)), self.log

    def write(self, hosts: str) -> None:
        """Write the configuration file."""
        self.file.write_text(f"[http]\nhosts = {json.dumps(hosts.split())}\n", encoding="utf-8")

    def reload(self) -> None:
        """Reload the configuration."""
        self._process.send_signal(signal.SIGHUP)

    def connect(self, listener: str) -> Http:
        """Connect to one of the listeners."""
        where = dict(zip(LISTENERS, self._listening(), strict=True))[listener]
        if listener == "unix":
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(SECONDS)
            sock.connect(where)
        else:
            host = "::1" if listener == "tcp6" else "127.0.0.1"
            sock = socket.create_connection((host, int(where.rpartition(":")[2])), SECONDS)
        if listener == "tls":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            sock = context.wrap_socket(sock)
        if listener == "proxied":
            sock.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n")
        return Http(sock)

    def _listening(self) -> list[str]:
        return re.findall(r"http listens on (\S+)", self.log)


@pytest.fixture(scope="module")
def listeners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listeners]:
    """A daemon with all kinds of listeners."""
    daemon = Listeners(tmp_path_factory.mktemp("listeners"))
    try:
        yield daemon
        daemon.assert_healthy()
    finally:
        daemon.stop()


def assert_misdirected(response: Response, method: str = "GET") -> None:
    """Check that a response refuses the host, and closes the connection."""
    assert (response.status, response.headers["connection"]) == (421, "close")
    assert method == "HEAD" or response.code == "unknown-host"


def test_addresses_cover_every_resource() -> None:
    routes = re.findall(r'b"([a-z.]+)": ', (ROOT / "pushd/service/routes.py").read_text(encoding="utf-8"))
    assert "pub" in routes
    assert {segment for address in EVERYWHERE for segment in re.split(r"[/?]", address)} >= set(routes)


@pytest.mark.parametrize("address", EVERYWHERE)
def test_no_resource_serves_a_foreign_host(daemon: Daemon, address: str) -> None:
    for method in METHODS:
        for version in ("1.1", "1.0"):
            with daemon.http() as http:
                body = b"x" if method in ("POST", "PUT") else b""
                response = http.request(method, address, {"Host": FOREIGN_HOST}, body, version)
                assert_misdirected(response, method)
                assert http.rest() == b""


@pytest.mark.parametrize("headers", [HANDSHAKE, V1], ids=["bare", "v1"])
@pytest.mark.parametrize("address", HANDSHAKES)
def test_no_websocket_for_a_foreign_host(daemon: Daemon, address: str, headers: Mapping[str, str]) -> None:
    """The origin of such a page is that of the request, so `Origin` does not identify it as foreign."""
    with daemon.http() as http:
        assert_misdirected(
            http.request("GET", address, {**headers, "Host": FOREIGN_HOST, "Origin": f"http://{FOREIGN_HOST}"})
        )


def test_rebound_page_cannot_write(daemon: Daemon, channel: str) -> None:
    daemon.publish(channel, b"before")
    page = {"Host": f"{FOREIGN_HOST}:8080", "Origin": f"http://{FOREIGN_HOST}:8080", "Sec-Fetch-Site": "same-origin"}
    batch = {"Content-Type": "application/x-ndjson"}
    line = json.dumps({"channel": channel, "data": "forged"}).encode()
    with daemon.http() as stream:
        stream.open_stream(f"/sse/{channel}")
        (own_id,) = [each["id"] for each in daemon.request("GET", f"/connections?channel={channel}").json()]
        for method, address, headers, body in (
            ("POST", f"/pub/{channel}", {}, b"forged"),
            ("PUT", f"/pub/{channel}", {}, b"forged"),
            ("POST", "/pub", batch, line),
            ("DELETE", f"/pub/{channel}", {}, b""),
            ("DELETE", f"/connections/{own_id}", {}, b""),
        ):
            assert_misdirected(daemon.request(method, address, page | headers, body))
        assert [each["id"] for each in daemon.request("GET", f"/connections?channel={channel}").json()] == [own_id]
    assert [message["data"] for message in daemon.history(channel)] == ["before"]


def test_foreign_host_is_refused_before_the_body_is_read(daemon: Daemon, http: Http, channel: str) -> None:
    hidden = f"POST /pub/{channel} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx".encode()
    length, expect = str(len(hidden) + 10**6), "100-continue"
    http.send_request(
        "POST", f"/pub/{channel}", {"Host": FOREIGN_HOST, "Content-Length": length, "Expect": expect}, hidden
    )
    assert_misdirected(http.response())
    assert daemon.history(channel) == []


def test_each_pipelined_request_is_checked(http: Http, channel: str) -> None:
    http.send_request("POST", f"/pub/{channel}", {}, b"x")
    http.send_request("GET", f"/history/{channel}", {"Host": FOREIGN_HOST})
    http.send_request("GET", f"/history/{channel}")
    assert http.response().status == 202
    assert_misdirected(http.response())
    assert http.rest() == b""


@pytest.mark.parametrize("stream", ["/stream/{}", "/sse/{}", "/longpoll/{}?timeout=0"])
def test_request_after_a_stream_is_checked(http: Http, channel: str, stream: str) -> None:
    assert http.request("POST", f"/pub/{channel}?end=1", {}, b"x").status == 202
    assert http.request("GET", stream.format(channel) + ("&" if "?" in stream else "?") + "since=all").status == 200
    assert http.request("GET", "/health/live").status == 200
    assert_misdirected(http.request("GET", f"/history/{channel}", {"Host": FOREIGN_HOST}))


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "localhost.", "app.localhost:8080", "127.0.0.1", "10.0.0.7:80", "[::1]:8080"]
)
def test_loopback_host_is_served(http: Http, host: str) -> None:
    assert http.request("GET", "/channels", {"Host": host}).status == 200


@pytest.mark.parametrize(
    "host", ["", CONFIGURED_HOST, "localhost.evil.example", "127.0.0.1.nip.io", "127.1", "evil.example:80"]
)
def test_other_host_is_refused(http: Http, host: str) -> None:
    assert_misdirected(http.request("GET", "/channels", {"Host": host}))


@pytest.mark.parametrize("host", ["a b", "a/b", "user@localhost", "localhost, localhost", "[::1"])
def test_malformed_host_is_a_bad_request(http: Http, host: str) -> None:
    assert http.request("GET", "/channels", {"Host": host}).status == 400


def test_http_1_0_needs_no_host(http: Http) -> None:
    http.send(b"GET /health/live HTTP/1.0\r\n\r\n")
    assert http.response().json() == {"live": True}


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize(
    "authority", [FOREIGN_HOST, f"{FOREIGN_HOST}:80", f"localhost@{FOREIGN_HOST}", f"[::1]{FOREIGN_HOST}", ""]
)
def test_target_in_absolute_form_is_checked(http: Http, authority: str, version: str) -> None:
    host = b"" if version == "1.0" else b"Host: localhost\r\n"
    http.send(f"GET http://{authority}/channels HTTP/{version}\r\n".encode() + host + b"\r\n")
    assert http.response().status in (400, 421)


def test_foreign_host_is_counted_and_logged(daemon: Daemon) -> None:
    start, series = len(daemon.log), 'pushd_refusals_total{code="unknown-host"}'
    before = daemon.counter(series)

    def is_logged() -> bool:
        daemon.request("GET", "/", {"Host": FOREIGN_HOST})
        return (
            f"http 127.0.0.1: refused, unknown-host: a loopback listener does not serve the host '{FOREIGN_HOST}'"
            in (daemon.log[start:])
        )

    assert eventually(is_logged)
    assert daemon.counter(series) > before


# All kinds of listeners


@pytest.mark.parametrize("listener", LOOPBACK_LISTENERS)
def test_every_loopback_listener_checks_the_host(listeners: Listeners, listener: str) -> None:
    with listeners.connect(listener) as http:
        for host in ("localhost", CONFIGURED_HOST, f"{CONFIGURED_HOST.upper()}.:8443", "127.0.0.1:1", "[::1]"):
            assert http.request("GET", "/channels", {"Host": host}).status == 200
        assert_misdirected(http.request("GET", "/channels", {"Host": FOREIGN_HOST}))


@pytest.mark.parametrize("listener", [listener for listener in LISTENERS if listener not in LOOPBACK_LISTENERS])
def test_other_listeners_serve_every_host(listeners: Listeners, listener: str) -> None:
    """A listener on all addresses serves every host over loopback too; no browser can connect to a Unix socket."""
    with listeners.connect(listener) as http:
        for host in ("localhost", CONFIGURED_HOST, FOREIGN_HOST):
            assert http.request("GET", "/channels", {"Host": host}).status == 200
        http.send_request("GET", "/ws/a", HANDSHAKE | {"Host": FOREIGN_HOST})
        assert http.head().status == 101


def test_hosts_change_on_reload(listeners: Listeners) -> None:
    def status(host: str) -> int:
        return listeners.request("GET", "/channels", {"Host": host}).status

    try:
        listeners.write("other.example")
        listeners.reload()
        assert eventually(lambda: status("other.example") == 200)
        assert status(CONFIGURED_HOST) == 421
    finally:
        listeners.write(CONFIGURED_HOST)
        listeners.reload()
    assert eventually(lambda: status(CONFIGURED_HOST) == 200)
