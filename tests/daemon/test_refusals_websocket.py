"""WebSocket: refused handshakes, frames that close the connection, and close codes (RFC 6455)."""

import json

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.daemon.clients import HANDSHAKE, SECONDS, Http
from tests.daemon.frames import MASK, frame, open_websocket, read_close_code, read_frame
from tests.daemon.real import Daemon

pytestmark = pytest.mark.system


@pytest.fixture
def v1(http: Http) -> Http:
    """An open ``pushd.v1`` WebSocket, byte by byte."""
    open_websocket(http)
    return http


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in HANDSHAKE.items() if key != name}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (without("Sec-WebSocket-Version"), 426),
        (HANDSHAKE | {"Sec-WebSocket-Version": "12"}, 426),
        (HANDSHAKE | {"Sec-WebSocket-Version": "8"}, 426),
        (HANDSHAKE | {"Sec-WebSocket-Version": "013"}, 426),
        (HANDSHAKE | {"Sec-WebSocket-Version": "13, 8"}, 426),
        (without("Upgrade"), 426),
        (HANDSHAKE | {"Upgrade": "h2c"}, 426),
        (without("Connection"), 426),
        (HANDSHAKE | {"Connection": "keep-alive"}, 426),
        (without("Sec-WebSocket-Key"), 400),
        (HANDSHAKE | {"Sec-WebSocket-Key": ""}, 400),
        (HANDSHAKE | {"Sec-WebSocket-Key": "AAAA"}, 400),
        (HANDSHAKE | {"Sec-WebSocket-Key": "A" * 24}, 400),
        (HANDSHAKE | {"Sec-WebSocket-Key": "A" * 21 + "!=="}, 400),
        (HANDSHAKE | {"Sec-WebSocket-Key": "\xe9" * 24}, 400),
    ],
)
def test_invalid_handshake_is_refused(http: Http, headers: dict[str, str], status: int) -> None:
    response = http.request("GET", "/ws/a", headers)
    assert (response.status, bool(response.code)) == (status, True)
    if status == 426:
        assert response.headers["sec-websocket-version"] == "13"
        assert response.headers["upgrade"].lower() == "websocket"
    assert http.request("GET", "/health/live").status == 200, "the connection stays open"


@pytest.mark.parametrize("doubled", ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13"])
def test_repeated_header_is_refused(http: Http, doubled: str) -> None:
    lines = [
        "GET /ws/a HTTP/1.1",
        "Host: localhost",
        *(f"{name}: {value}" for name, value in HANDSHAKE.items()),
        doubled,
        "",
        "",
    ]
    http.send("\r\n".join(lines).encode())
    assert http.response().status in (400, 426)


def test_handshake_over_http_1_0_is_refused(http: Http) -> None:
    http.send_request("GET", "/ws/a", HANDSHAKE, version="1.0")
    assert http.response().status == 426


def test_daemon_has_no_echo(http: Http) -> None:
    assert http.request("GET", "/echo/any", HANDSHAKE).status == 404


def test_websocket_without_topics_needs_the_subprotocol(http: Http) -> None:
    assert http.request("GET", "/ws", HANDSHAKE).code == "bad-parameter"


@pytest.mark.parametrize(
    "headers",
    [
        {"Upgrade": "WebSocket", "Connection": "keep-alive, Upgrade"},
        {"Upgrade": "h2c, websocket", "Connection": "UPGRADE"},
        {"User-Agent": "a\x85Sec-WebSocket-Protocol: pushd.v1", "Accept-Language": "\x85"},
    ],
)
def test_handshake_with_unusual_headers(http: Http, headers: dict[str, str]) -> None:
    http.send_request("GET", "/ws/a", HANDSHAKE | headers)
    response = http.head()
    assert response.status == 101
    assert response.headers["sec-websocket-accept"] == "ICX+Yqv66kxgM0FcWaLWlFLwTAI="
    assert "sec-websocket-protocol" not in response.headers


@pytest.mark.parametrize(
    ("offered", "named"),
    [
        (None, None),
        ("", None),
        ("other", None),
        ("other, more", None),
        ("PUSHD.V1", None),
        ("pushd.v2", None),
        ("pushd.v1", "pushd.v1"),
        ("other, pushd.v1", "pushd.v1"),
        ("pushd.v1,other", "pushd.v1"),
    ],
)
def test_subprotocol_must_be_offered(http: Http, offered: str | None, named: str | None) -> None:
    extensions = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
    offer = {} if offered is None else {"Sec-WebSocket-Protocol": offered}
    http.send_request("GET", "/ws/a", HANDSHAKE | extensions | offer)
    response = http.head()
    assert (response.status, response.headers.get("sec-websocket-protocol")) == (101, named)
    assert "sec-websocket-extensions" not in response.headers, "no compression"


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (frame(0x81, b"\xff"), 1007),
        (frame(0x81, b'{"ping":"\xed\xa0\x80"}'), 1007),
        (frame(0x01, b'{"ping":"\xc3') + frame(0x80, b'"}'), 1007),
        (frame(0x81, b"{}", masked=False), 1002),
        (frame(0xC1, b"{}"), 1002),
        (frame(0x91, b"{}"), 1002),
        (frame(0x83), 1002),
        (frame(0x8B), 1002),
        (frame(0x80, b"x"), 1002),
        (frame(0x01, b"x") + frame(0x81, b"x"), 1002),
        (frame(0x09), 1002),
        (b"\x89\xfe\0\x7e" + MASK + bytes(126), 1002),
    ],
)
def test_invalid_frame_closes_the_connection(v1: Http, frames: bytes, code: int) -> None:
    v1.send(frames)
    assert read_close_code(v1) == code


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x03\xe8bye", b"\x0f\xa0", b"\x03\xe9"])
def test_close_frame_is_answered(v1: Http, payload: bytes) -> None:
    v1.send(frame(0x88, payload))
    assert read_close_code(v1) == 1000
    assert v1.rest() == b""


@pytest.mark.parametrize("payload", [b"\x03", b"\x03\xed", b"\x03\xee", b"\0\0", b"\x13\x88", b"\x03\xe8\xff"])
def test_invalid_close_frame_closes_the_connection(v1: Http, payload: bytes) -> None:
    v1.send(frame(0x88, payload))
    assert v1.rest()[2:4] in (b"", b"\x03\xea", b"\x03\xef"), "nothing, 1002 or 1007"


@pytest.mark.parametrize("payload", [b"", b"x" * 125])
def test_ping_between_fragments_is_answered(v1: Http, payload: bytes) -> None:
    v1.send(frame(0x01, b'{"ping":') + frame(0x89, payload) + frame(0x8A, b"unasked") + frame(0x80, b"1}"))
    assert read_frame(v1) == (0x8A, payload)
    first, response = read_frame(v1)
    assert (first, json.loads(response)["pong"]) == (0x81, 1)


def test_character_in_two_fragments(v1: Http) -> None:
    v1.send(frame(0x01, b'{"ping":"\xc3') + frame(0x80, b'\xa9"}'))
    first, response = read_frame(v1)
    assert (first, json.loads(response)["pong"]) == (0x81, "é")


@pytest.mark.parametrize("offer", [None, [Subprotocol("other")]])
@pytest.mark.parametrize("command", ['{"ping":1}', b"\x00", ""])
def test_commands_need_the_subprotocol(daemon: Daemon, command: str | bytes, offer: list[Subprotocol] | None) -> None:
    with daemon.websocket("/ws/a", v1=False) as websocket:
        websocket.send(command)
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(SECONDS)
    assert closed.value.rcvd
    assert closed.value.rcvd.code == 1008


@pytest.mark.parametrize("payload", [b'{"ping":1}', b"", b"\xff\x00"])
def test_binary_frame_is_refused(daemon: Daemon, payload: bytes) -> None:
    with daemon.websocket() as websocket:
        websocket.send(payload)
        websocket.send('{"ping":1}')
        refusal = json.loads(websocket.recv(SECONDS))
        assert (refusal["ref"], refusal["error"]["code"]) == (None, "bad-command")
        assert json.loads(websocket.recv(SECONDS))["pong"] == 1


@pytest.mark.parametrize(("payload", "code"), [(b"\xff", "bad-utf8"), (b"x", "bad-command")])
def test_refusal_that_closes_a_websocket_is_counted(daemon: Daemon, http: Http, payload: bytes, code: str) -> None:
    series = f'pushd_refusals_total{{code="{code}"}}'
    before = daemon.counter(series)
    open_websocket(http, "pushd.v1" if code == "bad-utf8" else "other")
    http.send(frame(0x81, payload))
    assert read_close_code(http) in (1007, 1008)
    assert daemon.counter(series) == before + 1


def test_invalid_frames_are_counted_and_not_logged(daemon: Daemon) -> None:
    start, series = len(daemon.log), 'pushd_refusals_total{code="bad-frame"}'
    before = daemon.counter(series)
    for _ in range(5):
        with daemon.http() as http:
            open_websocket(http)
            http.send(frame(0x81, b"x", masked=False))
            assert read_close_code(http) == 1002
    assert daemon.counter(series) == before + 5
    assert "autobahn" not in daemon.log[start:]
