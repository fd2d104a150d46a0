"""nginx, in all usual configurations, delays no transport."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from tests.daemon.clients import HANDSHAKE, SECONDS, Http, Response
from tests.daemon.real import Daemon, eventually
from tests.system.nginx import Nginx
from tests.system.proxies import documented
from tests.system.stream_clients import NEGOTIATED, STREAMS, Stream, StreamTransport

pytestmark = pytest.mark.system

IMMEDIATE_SECONDS = 1.5
"""Seconds. An idle machine takes 0.02; a buffered message arrives with the end of the stream, or never."""
ATTEMPTS = 3
"""Of which the best counts: a busy machine may stop a process for some seconds."""
ORIGIN = "https://app.example"
PUBLIC = "push.example.org"
UPSTREAM_NAME = "pushd"
"""The `Host` that nginx forwards by default if `proxy_pass` names an `upstream`."""
_MAP, _DOCUMENTED, *_ = documented("nginx")
_PLAIN = "location / { proxy_pass http://127.0.0.1:8080; }"
_ROOT = "location / {\n    proxy_pass http://127.0.0.1:8080;"
SERVERS = {
    "plain": _PLAIN,
    "http-1.0": f"proxy_http_version 1.0; {_PLAIN}",
    "http-1.1": f"proxy_http_version 1.1; {_PLAIN}",
    "kept-alive": 'proxy_http_version 1.1; proxy_set_header Connection ""; location / { proxy_pass http://pushd; }',
    "documented": _DOCUMENTED,
    "prefix": _DOCUMENTED.replace(_ROOT, "location /push/ {\n    proxy_pass http://127.0.0.1:8080/;"),
}
WEBSOCKETS = """location / {
    proxy_pass http://127.0.0.1:8080;
    proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
}"""
UNREACHABLE = _DOCUMENTED.replace("127.0.0.1:8080", "127.0.0.1:1")
UPSTREAM = "upstream pushd { server 127.0.0.1:8080; keepalive 4; }"
TEXTS = [f"message {number}".encode() for number in range(20)]
_numbers = count(1)


class Proxy:
    """An nginx server block."""

    def __init__(self, port: int, prefix: str = "") -> None:
        self.port = port
        self.prefix = prefix

    def request(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        """Send one request on a new connection."""
        with Http(self.port) as http:
            return http.request(method, self.prefix + target, headers, body)

    def publish(self, channel: str, data: bytes, kind: str = "text/plain") -> str:
        """Publish; return the id."""
        response = self.request("POST", f"/pub/{channel}", {"Content-Type": kind}, data)
        assert response.status in (201, 202), response
        return str(response.json()["id"])

    def stream(self, transport: StreamTransport, channel: str) -> Stream:
        """Open a stream."""
        return Stream(self.port, transport._replace(target=self.prefix + transport.target), channel)

    def websocket(self, target: str, **options: Any) -> ClientConnection:
        """Open a WebSocket."""
        uri = f"ws://127.0.0.1:{self.port}{self.prefix}{target}"
        options |= {"compression": None, "proxy": None, "open_timeout": SECONDS, "close_timeout": SECONDS}
        websocket: ClientConnection = connect(uri, **options)
        return websocket


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The daemon behind nginx."""
    names = ("--http-hosts", PUBLIC, "--http-hosts", UPSTREAM_NAME)
    daemon = Daemon(tmp_path_factory.mktemp("pushd"), "--http-allow-origins", ORIGIN, *names)
    try:
        yield daemon
        daemon.assert_healthy()
    finally:
        daemon.stop()


@pytest.fixture(scope="module")
def proxies(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Proxy]]:
    """An nginx server for each configuration."""
    servers = SERVERS | {"websockets": WEBSOCKETS, "unreachable": UNREACHABLE}
    here = f"127.0.0.1:{daemon.http_port}"
    http = (_MAP + UPSTREAM).replace("127.0.0.1:8080", here)
    named = {name: text.replace("127.0.0.1:8080", here) for name, text in servers.items()}
    nginx = Nginx(tmp_path_factory.mktemp("nginx"), named, http)
    try:
        yield {name: Proxy(port, "/push" if name == "prefix" else "") for name, port in nginx.ports.items()}
    finally:
        nginx.stop()


@pytest.fixture(params=SERVERS)
def proxy(proxies: dict[str, Proxy], request: pytest.FixtureRequest) -> Proxy:
    """Each of the servers that forward all requests."""
    return proxies[request.param]


@pytest.fixture
def plain(proxies: dict[str, Proxy]) -> Proxy:
    """A server with only `proxy_pass`."""
    return proxies["plain"]


@pytest.fixture
def channel() -> str:
    """A channel that no other test uses. It is not ASCII, and the proxy may re-encode it."""
    return f"b%C3%BChne/{next(_numbers)}"


def assert_immediate(deliver: Callable[[bytes], None]) -> list[bytes]:
    """Check that a message is delivered in little time, in one of some attempts; return the messages of all."""
    texts: list[bytes] = []
    times: list[float] = []
    while not times or (times[-1] >= IMMEDIATE_SECONDS and len(times) < ATTEMPTS):
        texts.append(f"attempt {len(texts)}".encode())
        start = time.monotonic()
        deliver(texts[-1])
        times.append(time.monotonic() - start)
    assert times[-1] < IMMEDIATE_SECONDS, times
    return texts


@pytest.mark.parametrize("transport", [*STREAMS, *NEGOTIATED], ids=lambda transport: transport.name)
def test_stream_is_not_delayed(proxy: Proxy, transport: StreamTransport, channel: str):
    with proxy.stream(transport, channel) as stream:  # with its headers, although nothing has been published
        assert " 200 " in stream.head.partition("\r\n")[0]

        def deliver(text: bytes) -> None:
            count = len(stream.messages) + 1
            proxy.publish(channel, text, transport.publish_as)
            assert stream.wait_for_messages(count)[-1:] == [text]

        texts = assert_immediate(deliver) + TEXTS
        for text in TEXTS:
            proxy.publish(channel, text, transport.publish_as)
        assert stream.wait_for_messages(len(texts)) == texts
        proxy.request("POST", f"/pub/{channel}?end=1")
        stream.read_to_end()
        assert stream.is_complete
        assert stream.messages == texts


def test_long_poll_is_not_delayed(proxy: Proxy, channel: str):
    cursor, received = proxy.publish(channel, b"before"), list[Any]()
    with Http(proxy.port) as http:

        def deliver(text: bytes) -> None:
            nonlocal cursor
            http.send_request("GET", f"{proxy.prefix}/longpoll/{channel}", {"Last-Event-ID": cursor})
            assert eventually(lambda: proxy.request("GET", f"/pub/{channel}").json()["subscribers"] == 1)
            proxy.publish(channel, text)
            response = http.response()
            assert [message["data"].encode() for message in response.json()] == [text]
            cursor = response.headers["pushd-cursor"]

        assert_immediate(deliver)
        for text in TEXTS:
            proxy.publish(channel, text)
        headers = {"Last-Event-ID": cursor}
        while len(received) < len(TEXTS):
            response = http.request("GET", f"{proxy.prefix}/longpoll/{channel}", headers)
            received += [message["data"].encode() for message in response.json()]
            headers = {"If-None-Match": response.headers["etag"]}
        assert received == TEXTS
        assert http.request("GET", f"{proxy.prefix}/longpoll/{channel}?timeout=0", headers).status == 304


def test_poll_returns_all_messages_after_a_cursor(proxy: Proxy, channel: str):
    cursor = proxy.publish(channel, b"before")
    assert proxy.request("GET", f"/poll/{channel}").json()[0]["data"] == "before"
    for text in TEXTS:
        proxy.publish(channel, text)
    response = proxy.request("GET", f"/poll/{channel}", {"Last-Event-ID": cursor})
    assert [message["data"].encode() for message in response.json()] == TEXTS
    assert proxy.request("GET", f"/poll/{channel}", {"If-None-Match": response.headers["etag"]}).status == 304


def test_held_pull_is_not_delayed(proxy: Proxy, channel: str):
    cursor = proxy.publish(channel, b"before")
    assert proxy.request("GET", f"/pull/{channel}").headers["refresh"] == "12"
    with Http(proxy.port) as http:

        def deliver(text: bytes) -> None:
            nonlocal cursor
            http.send_request("GET", f"{proxy.prefix}/pull/{channel}?interval=0&since={cursor}")
            assert eventually(lambda: proxy.request("GET", f"/pub/{channel}").json()["subscribers"] == 1)
            cursor = proxy.publish(channel, text)
            response = http.response()
            assert text in response.body
            assert response.headers["refresh"] == f"0; url=?interval=0&since={cursor}"

        assert_immediate(deliver)


@pytest.mark.parametrize("name", ["websockets", "documented", "prefix"])
@pytest.mark.parametrize("address", ["ws", "sub"])
def test_websocket_is_not_delayed(proxies: dict[str, Proxy], name: str, address: str, channel: str):
    proxy = proxies[name]
    with proxy.websocket(f"/{address}/{channel}") as socket:

        def deliver(text: bytes) -> None:
            proxy.publish(channel, text)
            assert socket.recv(SECONDS) == text.decode()

        assert_immediate(deliver)
        for text in TEXTS:
            proxy.publish(channel, text)
        assert [str(socket.recv(SECONDS)).encode() for _ in TEXTS] == TEXTS


@pytest.mark.parametrize("name", ["websockets", "documented", "prefix"])
def test_websocket_commands(proxies: dict[str, Proxy], name: str):
    with proxies[name].websocket("/ws", subprotocols=[Subprotocol("pushd.v1")]) as socket:
        socket.send('{"ping":1,"ref":2}')
        assert socket.recv(SECONDS) == '{"ref":2,"ok":true,"pong":1}'


def test_websocket_without_upgrade_headers_is_refused(plain: Proxy, channel: str):
    with pytest.raises(InvalidStatus) as refused:
        plain.websocket(f"/ws/{channel}")
    assert refused.value.response.status_code == 426
    assert plain.request("GET", f"/sub/{channel}?timeout=0", HANDSHAKE).status == 204


@pytest.mark.parametrize("transport", [*STREAMS, *NEGOTIATED], ids=lambda transport: transport.name)
def test_head_has_the_headers_of_a_stream(proxy: Proxy, transport: StreamTransport, channel: str):
    response = proxy.request("HEAD", transport.target.format(channel), {"Accept": transport.accept})
    with proxy.stream(transport, channel) as stream:
        assert (response.status, response.headers["content-type"].lower()) == (200, stream.kind)
    assert response.headers["cache-control"] == "no-store, no-transform"


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("GET", "/sse/a/**/b", 400, "bad-topic"),
        ("GET", "/stream/x?since=nonsense", 400, "bad-since"),
        ("POST", "/pub/$sys", 403, "forbidden"),
        ("GET", "/nowhere", 404, "not-found"),
        ("PUT", "/sse/x", 405, "method-not-allowed"),
        ("POST", "/pub", 415, "unsupported-type"),
        ("GET", "/ws/x", 426, "upgrade-required"),
    ],
)
def test_refusal_is_forwarded(proxy: Proxy, method: str, target: str, status: int, code: str):
    response = proxy.request(method, target)
    assert (response.status, response.code) == (status, code)


def test_allowed_origin_gets_cors_headers(proxy: Proxy, channel: str):
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "Last-Event-ID",
    }
    response = proxy.request("OPTIONS", f"/sse/{channel}", headers)
    assert (response.status, response.headers["access-control-allow-origin"]) == (204, ORIGIN)
    assert "Last-Event-ID" in response.headers["access-control-allow-headers"]
    assert proxy.request("HEAD", f"/sse/{channel}", {"Origin": ORIGIN}).headers["access-control-allow-origin"] == ORIGIN
    assert (
        "access-control-allow-origin" not in proxy.request("HEAD", f"/sse/{channel}", {"Origin": "https://x"}).headers
    )


@pytest.mark.parametrize("name", ["documented", "prefix"])
def test_page_of_the_proxy_may_write(proxies: dict[str, Proxy], name: str, channel: str):
    proxy = proxies[name]
    origin = f"http://127.0.0.1:{proxy.port}"
    headers = {"Origin": origin, "Host": f"127.0.0.1:{proxy.port}"}
    assert proxy.request("POST", f"/pub/{channel}", headers, b"x").status == 202
    with proxy.websocket(f"/ws/{channel}", origin=Origin(origin)) as socket:
        proxy.publish(channel, b"received")
        assert socket.recv(SECONDS) == "received"


@pytest.mark.parametrize("name", ["documented", "prefix"])
def test_configured_host_of_the_proxy_is_served(proxies: dict[str, Proxy], name: str, channel: str):
    proxy, page = proxies[name], {"Host": PUBLIC, "Origin": f"https://{PUBLIC}", "Sec-Fetch-Site": "same-origin"}
    assert proxy.request("GET", "/channels", page).status == 200
    assert proxy.request("POST", f"/pub/{channel}", page, b"x").status == 202
    with Http(proxy.port) as http:
        http.send_request("GET", f"{proxy.prefix}/ws/{channel}", HANDSHAKE | page)
        assert http.head().status == 101


@pytest.mark.parametrize("name", ["documented", "prefix"])
def test_other_host_is_refused_through_the_proxy(proxies: dict[str, Proxy], name: str, channel: str):
    for method, target in (("GET", "/channels"), ("POST", f"/pub/{channel}"), ("GET", f"/stream/{channel}")):
        response = proxies[name].request(method, target, {"Host": "evil.example"})
        assert (response.status, response.code) == (421, "unknown-host")
    assert proxies[name].request("GET", f"/pub/{channel}").status == 404


def test_name_of_the_upstream_must_be_configured(proxies: dict[str, Proxy], channel: str):
    response = proxies["kept-alive"].request("POST", f"/pub/{channel}", {"Host": "evil.example"}, b"x")
    assert response.status == 202, "the name that the client headers for does not arrive"


def test_links_of_the_index_are_relative(proxies: dict[str, Proxy]):
    links = re.findall(r'href="([^"]*)"', proxies["prefix"].request("GET", "/").body.decode())
    assert links
    assert not [link for link in links if link.startswith("/")]


def test_disconnected_client_is_unsubscribed(proxy: Proxy, channel: str):
    with proxy.stream(STREAMS[0], channel):
        assert proxy.request("GET", f"/pub/{channel}").json()["subscribers"] == 1
    assert eventually(lambda: proxy.request("GET", f"/pub/{channel}").status == 404)


def test_largest_message_and_batch_are_forwarded(proxies: dict[str, Proxy], plain: Proxy, channel: str):
    assert plain.request("POST", f"/pub/{channel}", None, bytes(1 << 20)).status == 202
    assert plain.request("POST", f"/pub/{channel}", None, bytes((1 << 20) + 1)).status == 413
    batch = b" " * (16 << 20)
    assert proxies["documented"].request("POST", "/pub", {"Content-Type": "application/x-ndjson"}, batch).status == 200


def test_event_source_reconnects_while_pushd_is_down(proxies: dict[str, Proxy], channel: str):
    response = proxies["unreachable"].request("GET", f"/sse/{channel}.html")
    assert (response.status, response.headers["content-type"]) == (200, "text/event-stream")
    assert response.body == b"retry: 3000\n"
    assert proxies["unreachable"].request("GET", f"/stream/{channel}").status == 502
