"""Behind nginx nothing is held back, whatever the technique, in any of the usual ways to write its configuration."""

import re
import time
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from tests.daemon.clients import HANDSHAKE, SECONDS, Http, Response
from tests.daemon.real import ROOT, Daemon, eventually
from tests.system.nginx import Nginx
from tests.system.techniques import NEGOTIATED, STREAMS, Stream, Technique

pytestmark = pytest.mark.system

AT_ONCE = 1.5
"""Seconds. A quiet machine takes 0.02; what is held back comes with the end of the stream, or never."""
ORIGIN = "https://app.example"
PUBLIC = "push.example.org"
UPSTREAM_NAME = "pushd"
"""What nginx forwards as Host where nothing else is said and `proxy_pass` names an `upstream`."""
_MAP, _DOCUMENTED = re.findall(r"```nginx\n(.*?)```", (ROOT / "docs" / "proxies.md").read_text(encoding="utf-8"), re.S)
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
SOCKETS = """location / {
    proxy_pass http://127.0.0.1:8080;
    proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
}"""
NOBODY = _DOCUMENTED.replace("127.0.0.1:8080", "127.0.0.1:1")
UPSTREAM = "upstream pushd { server 127.0.0.1:8080; keepalive 4; }"
TEXTS = [f"message {number}".encode() for number in range(20)]
_numbers = count(1)


class Door:
    """A server of nginx."""

    def __init__(self, port: int, prefix: str = "") -> None:
        self.port = port
        self.prefix = prefix

    def ask(self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Response:
        """Make one request on a connection of its own."""
        with Http(self.port) as http:
            return http.request(method, self.prefix + target, headers, body)

    def publish(self, channel: str, data: bytes, kind: str = "text/plain") -> str:
        """Publish; give the id."""
        answer = self.ask("POST", f"/pub/{channel}", {"Content-Type": kind}, data)
        assert answer.status in (201, 202), answer
        return str(answer.json()["id"])

    def stream(self, technique: Technique, channel: str) -> Stream:
        """Begin to hear a stream."""
        return Stream(self.port, technique._replace(target=self.prefix + technique.target), channel)

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
def doors(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Door]]:
    """A door for each way to configure nginx."""
    servers = SERVERS | {"sockets": SOCKETS, "nobody": NOBODY}
    here = f"127.0.0.1:{daemon.http_port}"
    http = (_MAP + UPSTREAM).replace("127.0.0.1:8080", here)
    named = {name: text.replace("127.0.0.1:8080", here) for name, text in servers.items()}
    nginx = Nginx(tmp_path_factory.mktemp("nginx"), named, http)
    try:
        yield {name: Door(port, "/push" if name == "prefix" else "") for name, port in nginx.ports.items()}
    finally:
        nginx.stop()


@pytest.fixture(params=SERVERS)
def door(doors: dict[str, Door], request: pytest.FixtureRequest) -> Door:
    """Each of the servers that hand everything on."""
    return doors[request.param]


@pytest.fixture
def plain(doors: dict[str, Door]) -> Door:
    """A server that has nothing but `proxy_pass`."""
    return doors["plain"]


@pytest.fixture
def channel() -> str:
    """A channel that no other test uses; it is not ASCII, and the proxy may write it anew."""
    return f"b%C3%BChne/{next(_numbers)}"


def at_once(start: float) -> bool:
    """Tell whether something came soon after `start`."""
    return time.monotonic() - start < AT_ONCE


@pytest.mark.parametrize("technique", [*STREAMS, *NEGOTIATED], ids=lambda technique: technique.name)
def test_a_stream_begins_and_goes_on_at_once(door: Door, technique: Technique, channel: str):
    with door.stream(technique, channel) as stream:
        assert " 200 " in stream.head.partition("\r\n")[0]
        assert stream.seconds < AT_ONCE
        start = time.monotonic()
        door.publish(channel, b"first", technique.publish_as)
        assert (stream.deliver_result(1), at_once(start)) == ([b"first"], True)
        for text in TEXTS:
            door.publish(channel, text, technique.publish_as)
        assert stream.deliver_result(21) == [b"first", *TEXTS]
        door.ask("POST", f"/pub/{channel}?end=1")
        stream.to_the_end()
        assert stream.is_complete
        assert stream.messages == [b"first", *TEXTS]


def test_a_long_poll_is_answered_at_once(door: Door, channel: str):
    cursor, heard = door.publish(channel, b"before"), list[Any]()
    with Http(door.port) as http:
        http.send_request("GET", f"{door.prefix}/longpoll/{channel}", {"Last-Event-ID": cursor})
        assert eventually(lambda: door.ask("GET", f"/pub/{channel}").json()["subscribers"] == 1)
        start = time.monotonic()
        door.publish(channel, TEXTS[0])
        answer = http.response()
        assert at_once(start)
        for text in TEXTS[1:]:
            door.publish(channel, text)
        while len(heard) < len(TEXTS):
            heard += [message["data"].encode() for message in answer.json()]
            if len(heard) < len(TEXTS):
                headers = {"If-None-Match": answer.headers["etag"]}
                answer = http.request("GET", f"{door.prefix}/longpoll/{channel}", headers)
        assert heard == TEXTS
        headers = {"If-None-Match": answer.headers["etag"]}
        assert http.request("GET", f"{door.prefix}/longpoll/{channel}?timeout=0", headers).status == 304


def test_a_poll_hears_all_since(door: Door, channel: str):
    cursor = door.publish(channel, b"before")
    assert door.ask("GET", f"/poll/{channel}").json()[0]["data"] == "before"
    for text in TEXTS:
        door.publish(channel, text)
    answer = door.ask("GET", f"/poll/{channel}", {"Last-Event-ID": cursor})
    assert [message["data"].encode() for message in answer.json()] == TEXTS
    assert door.ask("GET", f"/poll/{channel}", {"If-None-Match": answer.headers["etag"]}).status == 304


def test_a_pulled_page_comes_with_a_change(door: Door, channel: str):
    cursor = door.publish(channel, b"before")
    assert door.ask("GET", f"/pull/{channel}").headers["refresh"] == "12"
    with Http(door.port) as http:
        http.send_request("GET", f"{door.prefix}/pull/{channel}?interval=0&since={cursor}")
        assert eventually(lambda: door.ask("GET", f"/pub/{channel}").json()["subscribers"] == 1)
        start = time.monotonic()
        newest = door.publish(channel, b"after")
        answer = http.response()
        assert at_once(start)
    assert b"after" in answer.body
    assert answer.headers["refresh"] == f"0; url=?interval=0&since={newest}"


@pytest.mark.parametrize("name", ["sockets", "documented", "prefix"])
@pytest.mark.parametrize("address", ["ws", "sub"])
def test_a_websocket_hears_at_once(doors: dict[str, Door], name: str, address: str, channel: str):
    door = doors[name]
    with door.websocket(f"/{address}/{channel}") as socket:
        start = time.monotonic()
        door.publish(channel, b"first")
        assert (socket.recv(SECONDS), at_once(start)) == ("first", True)
        for text in TEXTS:
            door.publish(channel, text)
        assert [str(socket.recv(SECONDS)).encode() for _ in TEXTS] == TEXTS


@pytest.mark.parametrize("name", ["sockets", "documented", "prefix"])
def test_a_websocket_takes_commands(doors: dict[str, Door], name: str):
    with doors[name].websocket("/ws", subprotocols=[Subprotocol("pushd.v1")]) as socket:
        socket.send('{"ping":1,"ref":2}')
        assert socket.recv(SECONDS) == '{"ref":2,"ok":true,"pong":1}'


def test_without_upgrade_headers_a_websocket_is_refused_and_others_wait(plain: Door, channel: str):
    with pytest.raises(InvalidStatus) as refused:
        plain.websocket(f"/ws/{channel}")
    assert refused.value.response.status_code == 426
    assert plain.ask("GET", f"/sub/{channel}?timeout=0", HANDSHAKE).status == 204


@pytest.mark.parametrize("technique", [*STREAMS, *NEGOTIATED], ids=lambda technique: technique.name)
def test_a_head_shows_the_headers(door: Door, technique: Technique, channel: str):
    answer = door.ask("HEAD", technique.target.format(channel), {"Accept": technique.accept})
    with door.stream(technique, channel) as stream:
        assert (answer.status, answer.headers["content-type"].lower()) == (200, stream.kind)
    assert answer.headers["cache-control"] == "no-store, no-transform"


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
def test_a_refusal_comes_through(door: Door, method: str, target: str, status: int, code: str):
    answer = door.ask(method, target)
    assert (answer.status, answer.code) == (status, code)


def test_an_allowed_origin_may_come_in(door: Door, channel: str):
    asked = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "Last-Event-ID",
    }
    answer = door.ask("OPTIONS", f"/sse/{channel}", asked)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (204, ORIGIN)
    assert "Last-Event-ID" in answer.headers["access-control-allow-headers"]
    assert door.ask("HEAD", f"/sse/{channel}", {"Origin": ORIGIN}).headers["access-control-allow-origin"] == ORIGIN
    assert "access-control-allow-origin" not in door.ask("HEAD", f"/sse/{channel}", {"Origin": "https://x"}).headers


@pytest.mark.parametrize("name", ["documented", "prefix"])
def test_a_page_of_the_proxy_itself_may_write(doors: dict[str, Door], name: str, channel: str):
    door = doors[name]
    origin = f"http://127.0.0.1:{door.port}"
    headers = {"Origin": origin, "Host": f"127.0.0.1:{door.port}"}
    assert door.ask("POST", f"/pub/{channel}", headers, b"x").status == 202
    with door.websocket(f"/ws/{channel}", origin=Origin(origin)) as socket:
        door.publish(channel, b"heard")
        assert socket.recv(SECONDS) == "heard"


@pytest.mark.parametrize("name", ["documented", "prefix"])
def test_the_public_name_of_the_proxy_is_served_where_it_is_configured(doors: dict[str, Door], name: str, channel: str):
    door, page = doors[name], {"Host": PUBLIC, "Origin": f"https://{PUBLIC}", "Sec-Fetch-Site": "same-origin"}
    assert door.ask("GET", "/channels", page).status == 200
    assert door.ask("POST", f"/pub/{channel}", page, b"x").status == 202
    with Http(door.port) as http:
        http.send_request("GET", f"{door.prefix}/ws/{channel}", HANDSHAKE | page)
        assert http.head().status == 101


@pytest.mark.parametrize("name", ["documented", "prefix"])
def test_any_other_name_is_refused_through_the_proxy(doors: dict[str, Door], name: str, channel: str):
    for method, target in (("GET", "/channels"), ("POST", f"/pub/{channel}"), ("GET", f"/stream/{channel}")):
        answer = doors[name].ask(method, target, {"Host": "evil.example"})
        assert (answer.status, answer.code) == (421, "unknown-host")
    assert doors[name].ask("GET", f"/pub/{channel}").status == 404


def test_an_upstream_has_to_be_named_where_nginx_forwards_its_name(doors: dict[str, Door], channel: str):
    answer = doors["kept-alive"].ask("POST", f"/pub/{channel}", {"Host": "evil.example"}, b"x")
    assert answer.status == 202, "the name that the client asked for does not arrive"


def test_links_of_the_first_page_lead_behind_the_prefix(doors: dict[str, Door]):
    links = re.findall(r'href="([^"]*)"', doors["prefix"].ask("GET", "/").body.decode())
    assert links
    assert not [link for link in links if link.startswith("/")]


def test_a_client_that_goes_is_missed(door: Door, channel: str):
    with door.stream(STREAMS[0], channel):
        assert door.ask("GET", f"/pub/{channel}").json()["subscribers"] == 1
    assert eventually(lambda: door.ask("GET", f"/pub/{channel}").status == 404)


def test_the_largest_message_and_batch_come_through(doors: dict[str, Door], plain: Door, channel: str):
    assert plain.ask("POST", f"/pub/{channel}", None, bytes(1 << 20)).status == 202
    assert plain.ask("POST", f"/pub/{channel}", None, bytes((1 << 20) + 1)).status == 413
    batch = b" " * (16 << 20)
    assert doors["documented"].ask("POST", "/pub", {"Content-Type": "application/x-ndjson"}, batch).status == 200


def test_an_event_source_comes_back_where_nobody_answers(doors: dict[str, Door], channel: str):
    answer = doors["nobody"].ask("GET", f"/sse/{channel}.html")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
    assert answer.body == b"retry: 3000\n"
    assert doors["nobody"].ask("GET", f"/stream/{channel}").status == 502
