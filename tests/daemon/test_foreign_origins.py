"""Pages of foreign origins may neither write nor open a WebSocket, whichever header identifies them."""

import contextlib
from collections.abc import Iterator

import pytest

from tests.daemon.clients import HANDSHAKE
from tests.daemon.conftest import ORIGIN, run
from tests.daemon.real import Daemon
from tests.daemon.test_refusals_http import ADDRESSES

pytestmark = pytest.mark.system

HOST = "localhost:8080"
WRITES = [(method, address) for address in [*ADDRESSES, "/nope"] for method in ("POST", "PUT", "DELETE", "PATCH")]
V1 = HANDSHAKE | {"Sec-WebSocket-Protocol": "pushd.v1"}
HANDSHAKES = [("/ws", V1), ("/ws/a", V1), ("/ws/a", HANDSHAKE), ("/sub/a", HANDSHAKE), ("/sub/a", V1)]
FOREIGN = {
    "another site": {"Origin": "https://evil.example"},
    "an extension": {"Origin": f"chrome-extension://{HOST}"},
    "an extension of Firefox": {"Origin": f"moz-extension://{HOST}"},
    "a file": {"Origin": f"file://{HOST}"},
    "a WebSocket scheme": {"Origin": f"ws://{HOST}"},
    "null": {"Origin": "null"},
    "no origin": {"Sec-Fetch-Site": "cross-site"},
    "no origin, in other letters": {"Sec-Fetch-Site": "Cross-Site"},
    "the same host": {"Origin": f"http://{HOST}", "Sec-Fetch-Site": "cross-site"},
}
OWN = {
    "a program": {},
    "a page": {"Origin": f"http://{HOST}", "Sec-Fetch-Site": "same-origin"},
    "a page behind TLS": {"Origin": f"https://{HOST}", "Sec-Fetch-Site": "same-origin"},
    "a page of an old browser": {"Origin": f"http://{HOST}"},
    "the user": {"Sec-Fetch-Site": "none"},
    "an allowed page": {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"},
}


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_no_foreign_page_writes(daemon: Daemon, headers: dict[str, str], channel: str) -> None:
    daemon.publish(channel, b"before")
    with daemon.http() as http:
        for method, address in [*WRITES, ("POST", f"/pub/{channel}"), ("DELETE", f"/pub/{channel}")]:
            response = http.request(method, address, {"Host": HOST, **headers}, b"x")
            expected = (404, "not-found") if address == "/nope" else (403, "forbidden")
            assert (method, address, response.status, response.code) == (method, address, *expected)
    assert [message["data"] for message in daemon.history(channel)] == ["before"]


@pytest.mark.parametrize(("address", "handshake"), HANDSHAKES)
@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_no_foreign_page_opens_a_websocket(
    daemon: Daemon, address: str, handshake: dict[str, str], headers: dict[str, str]
) -> None:
    response = daemon.request("GET", address, {**handshake, "Host": HOST, **headers})
    assert (response.status, response.code) == (403, "forbidden")


@pytest.mark.parametrize("method", ["POST", "GET", "OPTIONS", "post"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("is_split", [False, True])
def test_line_listener_refuses_http(daemon: Daemon, channel: str, method: str, version: str, is_split: bool) -> None:
    """A page may send a text body to any port, and a line of it could be a command."""
    head = f"{method} / HTTP/{version}\r\nHost: localhost:8081\r\nContent-Type: text/plain\r\n\r\n".encode()
    body = f"PUB {channel} forged\r\nPUBJ {{}}\r\nPING x\r\n".encode()
    with daemon.lines() as lines:
        lines.send(head if is_split else head + body)
        assert lines.reply() == b"-ERR unknown-command this listener accepts line commands, not HTTP requests"
        if is_split:
            with contextlib.suppress(ConnectionError):
                lines.send(body)
        assert lines.rest() == b""
    assert daemon.history(channel) == []


def test_text_like_a_request_line_is_published(daemon: Daemon, channel: str) -> None:
    with daemon.lines() as lines:
        assert lines.command(f"PUB {channel} GET / HTTP/1.1".encode()).startswith(b"+OK ")
        assert lines.command(b"PING x") == b"PONG x"
    assert [message["data"] for message in daemon.history(channel)] == ["GET / HTTP/1.1"]


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_foreign_page_may_read_without_cors_headers(daemon: Daemon, headers: dict[str, str]) -> None:
    """The request is answered, but the browser does not show the response to the page."""
    for method in ("GET", "HEAD", "OPTIONS"):
        response = daemon.request(method, "/channels", {"Host": HOST, **headers})
        assert response.status in (200, 204)
        assert not [name for name in response.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("headers", OWN.values(), ids=OWN)
def test_other_clients_write_and_open_websockets(daemon: Daemon, headers: dict[str, str], channel: str) -> None:
    given = {"Host": HOST, **headers}
    assert daemon.request("POST", f"/pub/{channel}", given, b"x").status == 202
    assert daemon.request("DELETE", f"/pub/{channel}", given).status == 200
    for address, handshake in HANDSHAKES:
        with daemon.http() as http:
            http.send_request("GET", address, {**handshake, **given})
            assert http.head().status == 101


@pytest.fixture(scope="module")
def any_origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that allows every origin."""
    yield from run(tmp_path_factory, "--http-allow-origins", "*")


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that allows the origin of a browser extension."""
    yield from run(tmp_path_factory, "--http-allow-origins", "chrome-extension://abcdefgh")


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_every_page_may_write_if_every_origin_is_allowed(
    any_origin: Daemon, headers: dict[str, str], channel: str
) -> None:
    assert any_origin.request("POST", f"/pub/{channel}", {"Host": HOST, **headers}, b"x").status == 202


def test_extension_may_write_if_its_origin_is_allowed(named: Daemon, channel: str) -> None:
    given = {"Host": HOST, "Sec-Fetch-Site": "cross-site"}
    extension = {"Origin": "chrome-extension://abcdefgh"}
    assert named.request("POST", f"/pub/{channel}", given | extension, b"x").status == 202
    assert named.request("POST", f"/pub/{channel}", given | {"Origin": "chrome-extension://other"}, b"x").status == 403
