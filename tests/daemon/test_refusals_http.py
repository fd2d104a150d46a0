"""Refused addresses, methods and origins."""

import pytest

from tests.daemon.clients import HANDSHAKE, SECONDS, Http
from tests.daemon.conftest import ORIGIN
from tests.daemon.real import Daemon

pytestmark = pytest.mark.system

READ = {"GET", "HEAD", "OPTIONS"}
ADDRESSES = {
    "/": READ,
    "/pub": READ | {"POST", "PUT", "DELETE"},
    "/pub/a": READ | {"POST", "PUT", "DELETE"},
    "/sse/a": READ,
    "/stream/a": READ,
    "/multipart/a": READ,
    "/mixed/a": READ,
    "/iframe/a?callback=parent.f": READ,
    "/pushlet.srv": READ,
    "/comet4j": READ,
    "/longpoll/a?timeout=0": READ,
    "/poll/a": READ,
    "/pull/a": READ,
    "/sub/a?timeout=0": READ,
    "/ws": READ,
    "/ws/a": READ,
    "/channels": READ,
    "/console": READ,
    "/console/": READ,
    "/connections": READ | {"DELETE", "POST"},
    "/auth/explain": {"OPTIONS", "POST"},
    "/auth/revocations": READ | {"POST"},
    "/cursor": READ,
    "/cursor/a": READ,
    "/history/a": READ,
    "/presence/a": READ | {"PUT", "DELETE"},
    "/presence/a/b": READ | {"PUT", "DELETE"},
    "/presence/a?presence_id=b": READ | {"PUT", "DELETE"},
    "/heartbeat/a": READ | {"POST"},
    "/request/a": {"OPTIONS", "POST"},
    "/hooks": READ | {"POST"},
    "/hooks/a": READ | {"POST"},
    "/hooks/a/replay": READ | {"POST"},
    "/metrics": READ,
    "/health/live": READ,
    "/health/ready": READ,
    "/favicon.ico": READ,
    "/client.js": READ,
    "/client-tabs.js": READ,
    "/client-lease.js": READ,
    "/client-element.js": READ,
    "/version": READ,
}
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "REPORT")
NOT_IMPLEMENTED = ("get", "BREW-1", "XYZZY")
UNKNOWN = ("/nope", "/pubs/a", "/Pub/a", "/PUB/a", "/sse.html", "/%2e%2e/pub/a", "/../pub/a", "/./health/live", "/%20")
BELOW = (
    *("//", "/channels/", "/channels/a", "/metrics/a", "/health", "/health/", "/health/x", "/health/live/"),
    *("/favicon.ico/a", "/version/a", "/connections/", "/connections/a"),
)


STREAMS = ("/sse/", "/stream/", "/multipart/", "/mixed/", "/iframe/")


def words(header: str) -> set[str]:
    return {word.strip() for word in header.split(",")}


@pytest.mark.parametrize("address", ADDRESSES)
def test_method_not_allowed(http: Http, address: str) -> None:
    for method in METHODS:
        if method not in ADDRESSES[address]:
            response = http.request(method, address)
            assert (method, response.status) == (method, 405)
            assert method == "HEAD" or response.code == "method-not-allowed"
            assert words(response.headers["allow"]) == ADDRESSES[address]


@pytest.mark.parametrize("method", NOT_IMPLEMENTED)
def test_unknown_method_closes_the_connection(http: Http, method: str) -> None:
    response = http.request(method, "/pub/a")
    assert (response.status, response.code, response.headers["connection"]) == (501, "not-implemented", "close")
    assert http.rest() == b""


@pytest.mark.parametrize("address", UNKNOWN)
def test_unknown_address_is_not_found(http: Http, address: str) -> None:
    for method in METHODS:
        response = http.request(method, address)
        assert (method, response.status) == (method, 404)
        assert method == "HEAD" or response.code == "not-found"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("address", BELOW)
def test_path_below_an_address_is_not_found(http: Http, address: str, method: str) -> None:
    response = http.request(method, address)
    assert response.status == 404
    assert method == "HEAD" or response.code == "not-found"


@pytest.mark.parametrize("address", [*ADDRESSES, "/nope"])
def test_head_has_no_body_and_subscribes_to_nothing(daemon: Daemon, address: str) -> None:
    with daemon.http() as http:
        http.send_request("HEAD", address)
        http.send_request("GET", "/health/live")
        head = http.response("HEAD")
        assert http.response().json() == {"live": True}, "no bytes between the two responses"
    facts = daemon.request("GET", "/pub/a")
    assert facts.status == 404 or facts.json()["subscribers"] == 0
    if not address.startswith(
        (*STREAMS, "/poll", "/longpoll", "/sub", "/pushlet.srv")
    ):  # depends on messages, or has no HEAD
        get = daemon.request("GET", address)
        assert (head.status, head.headers.get("content-type")) == (get.status, get.headers.get("content-type"))


@pytest.mark.parametrize("address", ["/sse/a", "/stream/a", "/stream/a?format=raw", "/multipart/a", "/mixed/a"])
def test_head_of_a_stream_has_its_headers(daemon: Daemon, address: str) -> None:
    head = daemon.request("HEAD", address)
    with daemon.http() as http:
        get = http.open_stream(address)
    assert head.status == 200
    unlike = {"date", "transfer-encoding", "pushd-cursor", "pushd-connection"}
    assert {name: head.headers.get(name) for name in get.headers.keys() - unlike} == {
        name: value for name, value in get.headers.items() if name not in unlike
    }


@pytest.mark.parametrize("address", ADDRESSES)
def test_options_lists_the_methods(http: Http, address: str) -> None:
    response = http.request("OPTIONS", address)
    assert (response.status, words(response.headers["allow"])) == (204, ADDRESSES[address])
    assert not [name for name in response.headers if name.startswith("access-control-")]


def test_options_of_the_server(http: Http) -> None:
    assert http.request("OPTIONS", "*").status in (200, 204)
    assert http.request("GET", "*").status in (400, 404, 405)
    assert http.request("CONNECT", "example.org:443").status in (400, 404, 405)


# Origins


def preflight(daemon: Daemon, origin: str, address: str = "/pub/a") -> dict[str, str]:
    inputs = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    return daemon.request("OPTIONS", address, inputs).headers


@pytest.mark.parametrize("address", ["/pub/a", "/pub", "/sse/a", "/history/a"])
def test_preflight_is_refused_by_default(limited: Daemon, address: str) -> None:
    headers = preflight(limited, ORIGIN, address)
    assert not [name for name in headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://app.example",
        "https://app.example:8443",
        "https://app.example.evil.example",
        "https://evil.app.example",
        "null",
        "*",
        "",
        f"{ORIGIN}, {ORIGIN}",
    ],
)
def test_other_origin_gets_no_cors_headers(daemon: Daemon, origin: str) -> None:
    assert not [name for name in preflight(daemon, origin) if name.startswith("access-control-")]
    read = daemon.request("GET", "/channels", {"Origin": origin})
    assert read.status == 200
    assert "access-control-allow-origin" not in read.headers
    for method, address in (("POST", "/pub/a"), ("PUT", "/pub/a"), ("DELETE", "/pub/a"), ("POST", "/pub")):
        response = daemon.request(method, address, {"Origin": origin}, b"x")
        assert (response.status, response.code) == (403, "forbidden")
    response = daemon.request("GET", "/ws/a", HANDSHAKE | {"Origin": origin})
    assert (response.status, response.code) == (403, "forbidden")


def test_configured_origin_is_allowed(daemon: Daemon, channel: str) -> None:
    headers = preflight(daemon, ORIGIN)
    assert headers["access-control-allow-origin"] == ORIGIN
    assert {"POST", "PUT", "DELETE", "GET"} <= words(headers["access-control-allow-methods"])
    allowed = words(headers["access-control-allow-headers"].lower())
    assert {"last-event-id", "content-type", "idempotency-key", "if-none-match"} <= allowed
    assert "origin" in words(headers["vary"].lower())
    for response in (
        daemon.request("POST", f"/pub/{channel}", {"Origin": ORIGIN}, b"x"),
        daemon.request("GET", f"/history/{channel}", {"Origin": ORIGIN}),
        daemon.request("HEAD", f"/sse/{channel}", {"Origin": ORIGIN}),
    ):
        assert response.headers["access-control-allow-origin"] == ORIGIN
        assert response.headers["vary"].lower() == "origin"
    with daemon.websocket("/ws", origin=ORIGIN) as websocket:
        websocket.send('{"ping":1}')
        assert websocket.recv(SECONDS)


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("GET", "/sse/a*", b"", 400),
        ("GET", "/nope", b"", 404),
        ("PATCH", "/pub/a", b"", 405),
        ("POST", "/pub/a", b"x" * 65_537, 413),
        ("POST", "/pub", b"x", 415),
    ],
)
def test_page_may_read_refusals(daemon: Daemon, method: str, target: str, body: bytes, status: int) -> None:
    response = daemon.request(method, target, {"Origin": ORIGIN}, body)
    assert (response.status, response.headers.get("access-control-allow-origin")) == (status, ORIGIN)


def test_page_of_the_same_host_is_allowed(daemon: Daemon, channel: str) -> None:
    host = f"127.0.0.1:{daemon.http_port}"
    same = {"Host": host, "Origin": f"http://{host}"}
    assert daemon.request("POST", f"/pub/{channel}", same, b"x").status == 202
    with daemon.websocket("/ws", origin=f"http://{host}") as websocket:
        websocket.send('{"ping":1}')
        assert websocket.recv(SECONDS)
    other = {"Host": host, "Origin": "http://127.0.0.1:1"}
    assert daemon.request("POST", f"/pub/{channel}", other, b"x").status == 403


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_websocket_addresses_accept_only_handshakes(daemon: Daemon, method: str) -> None:
    response = daemon.request(method, "/ws/a", {name: value for name, value in HANDSHAKE.items() if name != "Upgrade"})
    if method == "POST":
        assert (response.status, response.code) == (405, "method-not-allowed")
        return
    assert (response.status, response.code) == (426, "upgrade-required")
    assert response.headers["upgrade"].lower() == "websocket"
    assert response.headers["sec-websocket-version"] == "13"
    assert "upgrade" in words(response.headers["connection"].lower())
