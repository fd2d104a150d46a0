"""The host that a request is for: a loopback listener serves only names that nobody else can own (DNS rebinding)."""

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

EVIL = "evil.example"
NAMED = "push.example.org"
EVERYWHERE = [*ADDRESSES, "/demo/", "/demo/chat", "/health", "/nope", "/favicon.ico?x"]
HANDSHAKES = ("/ws", "/ws/a", "/sub/a")
V1 = HANDSHAKE | {"Sec-WebSocket-Protocol": "pushd.v1"}
LISTENERS = ("tcp", "tcp6", "tls", "proxied", "unix", "open")
ON_LOOPBACK = ("tcp", "tcp6", "tls", "proxied")


class Listeners(Daemon):
    """A daemon that listens for HTTP in all ways, and knows one name."""

    def __init__(self, folder: Path) -> None:
        key, certificate = make_certificate(folder)
        self.file = folder / "pushd.toml"
        self.write(NAMED)
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
        """Write the file."""
        self.file.write_text(f"[http]\nhosts = {json.dumps(hosts.split())}\n", encoding="utf-8")

    def reload(self) -> None:
        """Let it read the file again."""
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
    """The daemon."""
    daemon = Listeners(tmp_path_factory.mktemp("listeners"))
    try:
        yield daemon
        daemon.assert_healthy()
    finally:
        daemon.stop()


def assert_misdirected(answer: Response, method: str = "GET") -> None:
    """See that an answer is the refusal of a host, and that the connection closes behind it."""
    assert (answer.status, answer.headers["connection"]) == (421, "close")
    assert method == "HEAD" or answer.code == "unknown-host"


def test_every_resource_of_the_daemon_is_asked_here() -> None:
    doors = re.findall(r'b"([a-z.]+)": ', (ROOT / "pushd/service/routes.py").read_text(encoding="utf-8"))
    assert "pub" in doors
    assert {re.split(r"[/?]", address)[1] for address in EVERYWHERE} >= set(doors)


@pytest.mark.parametrize("address", EVERYWHERE)
def test_no_resource_serves_a_foreign_host(daemon: Daemon, address: str) -> None:
    for method in METHODS:
        for version in ("1.1", "1.0"):
            with daemon.http() as http:
                body = b"x" if method in ("POST", "PUT") else b""
                answer = http.request(method, address, {"Host": EVIL}, body, version)
                assert_misdirected(answer, method)
                assert http.rest() == b""


@pytest.mark.parametrize("headers", [HANDSHAKE, V1], ids=["bare", "v1"])
@pytest.mark.parametrize("address", HANDSHAKES)
def test_no_websocket_opens_for_a_foreign_host(daemon: Daemon, address: str, headers: Mapping[str, str]) -> None:
    """A page of that host is of the same origin, so its Origin says nothing."""
    with daemon.http() as http:
        assert_misdirected(http.request("GET", address, {**headers, "Host": EVIL, "Origin": f"http://{EVIL}"}))


def test_a_rebound_page_changes_nothing(daemon: Daemon, channel: str) -> None:
    daemon.publish(channel, b"before")
    page = {"Host": f"{EVIL}:8080", "Origin": f"http://{EVIL}:8080", "Sec-Fetch-Site": "same-origin"}
    batch = {"Content-Type": "application/x-ndjson"}
    line = json.dumps({"channel": channel, "data": "forged"}).encode()
    with daemon.http() as stream:
        stream.open_stream(f"/sse/{channel}")
        (mine,) = [each["id"] for each in daemon.request("GET", f"/connections?channel={channel}").json()]
        for method, address, headers, body in (
            ("POST", f"/pub/{channel}", {}, b"forged"),
            ("PUT", f"/pub/{channel}", {}, b"forged"),
            ("POST", "/pub", batch, line),
            ("DELETE", f"/pub/{channel}", {}, b""),
            ("DELETE", f"/connections/{mine}", {}, b""),
        ):
            assert_misdirected(daemon.request(method, address, page | headers, body))
        assert [each["id"] for each in daemon.request("GET", f"/connections?channel={channel}").json()] == [mine]
    assert [message["data"] for message in daemon.history(channel)] == ["before"]


def test_it_is_refused_before_its_body_is_read(daemon: Daemon, http: Http, channel: str) -> None:
    hidden = f"POST /pub/{channel} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx".encode()
    length, expect = str(len(hidden) + 10**6), "100-continue"
    http.send_request("POST", f"/pub/{channel}", {"Host": EVIL, "Content-Length": length, "Expect": expect}, hidden)
    assert_misdirected(http.response())
    assert daemon.history(channel) == []


def test_what_is_pipelined_is_judged_request_by_request(http: Http, channel: str) -> None:
    http.send_request("POST", f"/pub/{channel}", {}, b"x")
    http.send_request("GET", f"/history/{channel}", {"Host": EVIL})
    http.send_request("GET", f"/history/{channel}")
    assert http.response().status == 202
    assert_misdirected(http.response())
    assert http.rest() == b""


@pytest.mark.parametrize("stream", ["/stream/{}", "/sse/{}", "/longpoll/{}?timeout=0"])
def test_a_connection_that_comes_back_from_a_stream_is_judged_again(http: Http, channel: str, stream: str) -> None:
    assert http.request("POST", f"/pub/{channel}?end=1", {}, b"x").status == 202
    assert http.request("GET", stream.format(channel) + ("&" if "?" in stream else "?") + "since=all").status == 200
    assert http.request("GET", "/health/live").status == 200
    assert_misdirected(http.request("GET", f"/history/{channel}", {"Host": EVIL}))


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "localhost.", "app.localhost:8080", "127.0.0.1", "10.0.0.7:80", "[::1]:8080"]
)
def test_what_nobody_else_can_own_is_served(http: Http, host: str) -> None:
    assert http.request("GET", "/channels", {"Host": host}).status == 200


@pytest.mark.parametrize("host", ["", NAMED, "localhost.evil.example", "127.0.0.1.nip.io", "127.1", "evil.example:80"])
def test_any_other_host_is_not(http: Http, host: str) -> None:
    assert_misdirected(http.request("GET", "/channels", {"Host": host}))


@pytest.mark.parametrize("host", ["a b", "a/b", "user@localhost", "localhost, localhost", "[::1"])
def test_what_is_no_host_is_no_request(http: Http, host: str) -> None:
    assert http.request("GET", "/channels", {"Host": host}).status == 400


def test_http_1_0_needs_no_host(http: Http) -> None:
    http.send(b"GET /health/live HTTP/1.0\r\n\r\n")
    assert http.response().json() == {"live": True}


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("authority", [EVIL, f"{EVIL}:80", f"localhost@{EVIL}", f"[::1]{EVIL}", ""])
def test_a_target_in_absolute_form_is_judged_too(http: Http, authority: str, version: str) -> None:
    host = b"" if version == "1.0" else b"Host: localhost\r\n"
    http.send(f"GET http://{authority}/channels HTTP/{version}\r\n".encode() + host + b"\r\n")
    assert http.response().status in (400, 421)


def test_the_refusal_is_counted_and_the_log_names_peer_and_host(daemon: Daemon) -> None:
    start, series = len(daemon.log), 'pushd_refusals_total{code="unknown-host"}'
    before = daemon.counter(series)

    def is_told() -> bool:
        daemon.request("GET", "/", {"Host": EVIL})
        return (
            f"http 127.0.0.1: refused, unknown-host: a loopback listener does not serve the host '{EVIL}'"
            in (daemon.log[start:])
        )

    assert eventually(is_told)
    assert daemon.counter(series) > before


# Listeners of all kinds


@pytest.mark.parametrize("listener", ON_LOOPBACK)
def test_every_loopback_listener_judges_the_host(listeners: Listeners, listener: str) -> None:
    with listeners.connect(listener) as http:
        for host in ("localhost", NAMED, f"{NAMED.upper()}.:8443", "127.0.0.1:1", "[::1]"):
            assert http.request("GET", "/channels", {"Host": host}).status == 200
        assert_misdirected(http.request("GET", "/channels", {"Host": EVIL}))


@pytest.mark.parametrize("listener", [listener for listener in LISTENERS if listener not in ON_LOOPBACK])
def test_no_other_listener_does(listeners: Listeners, listener: str) -> None:
    """One that is bound to all addresses is reached by loopback here, and a Unix socket by no browser."""
    with listeners.connect(listener) as http:
        for host in ("localhost", NAMED, EVIL):
            assert http.request("GET", "/channels", {"Host": host}).status == 200
        http.send_request("GET", "/ws/a", HANDSHAKE | {"Host": EVIL})
        assert http.head().status == 101


def test_other_names_hold_after_a_reload(listeners: Listeners) -> None:
    def status(host: str) -> int:
        return listeners.request("GET", "/channels", {"Host": host}).status

    try:
        listeners.write("other.example")
        listeners.reload()
        assert eventually(lambda: status("other.example") == 200)
        assert status(NAMED) == 421
    finally:
        listeners.write(NAMED)
        listeners.reload()
    assert eventually(lambda: status(NAMED) == 200)
