"""A daemon at its limits refuses with a reason, and asks clients that can wait to retry later."""

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.daemon.clients import HANDSHAKE, SECONDS, Client, Http
from tests.daemon.real import Daemon, eventually
from tests.daemon.refusals import NDJSON

pytestmark = pytest.mark.system


@pytest.fixture
def full(limited: Daemon) -> Iterator[Daemon]:
    """The daemon whose limit is three channels, with three channels."""
    for name in limited.request("GET", "/channels").json()["channels"]:
        limited.request("DELETE", f"/pub/{name}")
    for name in "xyz":
        limited.publish(name)
    yield limited
    for name in "xyz":
        limited.request("DELETE", f"/pub/{name}")


def test_too_many_channels(full: Daemon) -> None:
    response = full.request("POST", "/pub/new", {}, b"x")
    assert (response.status, response.code) == (429, "too-many-channels")
    assert int(response.headers["retry-after"]) > 0
    text = full.request("POST", "/pub/new", {"Accept": "text/plain"}, b"x")
    assert (text.status, text.body.count(b"\n")) == (429, 1)
    assert int(text.headers["retry-after"]) > 0
    with full.lines() as lines, full.websocket() as websocket:
        assert lines.command(b"PUB new x").startswith(b"-ERR too-many-channels ")
        websocket.send('{"publish":"new","data":1,"ref":9}')
        refusal = json.loads(websocket.recv(SECONDS))
        assert (refusal["ref"], refusal["error"]["code"]) == (9, "too-many-channels")
        assert lines.command(b"PUB x x").startswith(b"+OK "), "existing channels accept messages"


def test_limit_refuses_only_new_channels_of_several(full: Daemon) -> None:
    response = full.request("POST", "/pub/x,new,y", {}, b"x")
    assert response.status == 202
    first, second, third = response.json()
    assert (first["channel"], second["error"]["code"], third["channel"]) == ("x", "too-many-channels", "y")


def test_limit_refuses_only_new_channels_of_a_batch(full: Daemon) -> None:
    batch = b"\n".join(b'{"channel":"%b","data":1}' % name for name in (b"x", b"new", b"bad*", b"y"))
    response = full.request("POST", "/pub", NDJSON, batch)
    codes = [json.loads(line).get("error", {}).get("code") for line in response.body.splitlines()]
    assert (response.status, codes) == (200, [None, "too-many-channels", "bad-channel", None])


def test_deleted_channel_makes_room(full: Daemon) -> None:
    assert full.request("DELETE", "/pub/x").status == 200
    assert full.publish("new")["subscribers"] == 0
    assert full.request("DELETE", "/pub/new").status == 200


def test_too_many_connections(limited: Daemon) -> None:
    with ExitStack() as stack:
        clients: list[Client] = []
        while len(clients) < 30:
            client = stack.enter_context(Client(limited.tcp_port))
            if client.line().startswith(b"-ERR too-many-connections "):
                break
            clients.append(client)
        assert 15 <= len(clients) <= 20
        assert client.rest() == b""
        assert limited.request("GET", "/health/ready").json() == {"ready": True}, "short requests are still answered"
        assert limited.request("GET", "/stream/a").code == "too-many-connections"
        assert limited.request("GET", "/longpoll/a").code == "too-many-connections"
        assert limited.request("GET", "/ws/a", HANDSHAKE).code == "too-many-connections"
        assert b"retry: " in limited.request("GET", "/sse/a").body
        assert limited.request("GET", "/health/live").headers["connection"] == "close"
        assert eventually(lambda: is_closed_soon(stack.enter_context(limited.http()))), (
            "beyond that, connections are closed"
        )
    assert eventually(lambda: is_admitted(limited)), "new connections are accepted again"
    assert eventually(lambda: limited.counter('pushd_connections{transport="tcp"}') == 0)
    assert limited.wait_for_log("tcp 127.0.0.1: refused, ")


def is_closed_soon(client: Client) -> bool:
    """Return whether the daemon closes a connection at once, without a request."""
    client.socket.settimeout(0.1)
    try:
        return client.socket.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def is_admitted(daemon: Daemon) -> bool:
    with Client(daemon.http_port) as client:
        try:
            client.send(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return client.rest().startswith(b"HTTP/1.1 200 ")
        except OSError:
            return False


FORWARDED = {"X-Forwarded-For": "192.0.2.1"}


@pytest.fixture
def idle(limited: Daemon) -> Daemon:
    """The daemon once it has noticed that the connections of the test before are closed."""
    assert eventually(lambda: limited.request("GET", "/connections").json() == [])
    return limited


def open_stream_behind_proxy(daemon: Daemon, stack: ExitStack, target: str) -> Http:
    http = stack.enter_context(daemon.http())
    http.open_stream(target, FORWARDED)
    return http


@pytest.mark.parametrize("spelling", ["192.0.2.1", "192.0.2.1:4711", "::ffff:192.0.2.1", "[::FFFF:c000:201]:4711"])
def test_too_many_connections_from_one_address_behind_a_proxy(idle: Daemon, spelling: str) -> None:
    with ExitStack() as stack:
        open_stream_behind_proxy(idle, stack, "/stream/a")
        response = idle.request("GET", "/stream/a", {"X-Forwarded-For": spelling})
        assert (response.status, response.code) == (429, "too-many-connections")
        assert int(response.headers["retry-after"]) > 0
        other = stack.enter_context(idle.http())
        other.open_stream("/stream/a", {"X-Forwarded-For": "192.0.2.1, 192.0.2.2"})


def test_event_source_is_asked_to_reconnect(idle: Daemon) -> None:
    """An EventSource never reconnects after 429, so the response is 200 and an empty stream."""
    with ExitStack() as stack:
        open_stream_behind_proxy(idle, stack, "/sse/a")
        http = stack.enter_context(idle.http())
        response = http.request("GET", "/sse/a", FORWARDED)
        assert (response.status, response.headers["content-type"]) == (200, "text/event-stream")
        assert b"retry: " in response.body


@pytest.mark.parametrize(
    "forwarded", ["garbage", "", ",", "192.0.2.300", "[::1]", "a" * 3000, "\x85", "127.0.0.1", "fe80::1%$x"]
)
def test_invalid_forwarded_address_is_ignored(limited: Daemon, forwarded: str) -> None:
    with limited.http() as http:
        http.open_stream("/stream/a", {"X-Forwarded-For": forwarded})
