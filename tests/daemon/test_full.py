"""A daemon that is full says so, and to those who can wait when to come back."""

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.daemon.clients import HANDSHAKE, Client, Http
from tests.daemon.real import Daemon, eventually
from tests.daemon.refusals import NDJSON

pytestmark = pytest.mark.system


@pytest.fixture
def full(tight: Daemon) -> Iterator[Daemon]:
    """The daemon that has room for three channels, with three."""
    for name in tight.request("GET", "/channels").json()["channels"]:
        tight.request("DELETE", f"/pub/{name}")
    for name in "xyz":
        tight.publish(name)
    yield tight
    for name in "xyz":
        tight.request("DELETE", f"/pub/{name}")


def test_too_many_channels(full: Daemon) -> None:
    answer = full.request("POST", "/pub/new", {}, b"x")
    assert (answer.status, answer.code) == (429, "too-many-channels")
    assert int(answer.headers["retry-after"]) > 0
    text = full.request("POST", "/pub/new", {"Accept": "text/plain"}, b"x")
    assert (text.status, text.body.count(b"\n")) == (429, 1)
    assert int(text.headers["retry-after"]) > 0
    with full.lines() as lines, full.websocket() as websocket:
        assert lines.command(b"PUB new x").startswith(b"-ERR too-many-channels ")
        websocket.send('{"publish":"new","data":1,"ref":9}')
        refusal = json.loads(websocket.recv(5))
        assert (refusal["ref"], refusal["error"]["code"]) == (9, "too-many-channels")
        assert lines.command(b"PUB x x").startswith(b"+OK "), "those there are go on"


def test_some_of_several_channels_are_too_many(full: Daemon) -> None:
    answer = full.request("POST", "/pub/x,new,y", {}, b"x")
    assert answer.status == 202
    first, second, third = answer.json()
    assert (first["channel"], second["error"]["code"], third["channel"]) == ("x", "too-many-channels", "y")


def test_some_of_a_batch_are_too_many(full: Daemon) -> None:
    batch = b"\n".join(b'{"channel":"%b","data":1}' % name for name in (b"x", b"new", b"bad*", b"y"))
    answer = full.request("POST", "/pub", NDJSON, batch)
    codes = [json.loads(line).get("error", {}).get("code") for line in answer.body.splitlines()]
    assert (answer.status, codes) == (200, [None, "too-many-channels", "bad-channel", None])


def test_room_for_a_channel_again(full: Daemon) -> None:
    assert full.request("DELETE", "/pub/x").status == 200
    assert full.publish("new")["subscribers"] == 0
    assert full.request("DELETE", "/pub/new").status == 200


def test_too_many_connections(tight: Daemon) -> None:
    with ExitStack() as held:
        clients: list[Client] = []
        while len(clients) < 30:
            client = held.enter_context(Client(tight.tcp_port))
            if client.line().startswith(b"-ERR too-many-connections "):
                break
            clients.append(client)
        assert 15 <= len(clients) <= 20
        assert client.rest() == b""
        assert tight.request("GET", "/health/ready").json() == {"ready": True}, "that can be asked all the same"
        assert tight.request("GET", "/stream/a").code == "too-many-connections"
        assert tight.request("GET", "/longpoll/a").code == "too-many-connections"
        assert tight.request("GET", "/ws/a", HANDSHAKE).code == "too-many-connections"
        assert b"retry: " in tight.request("GET", "/sse/a").body
        assert tight.request("GET", "/health/live").headers["connection"] == "close"
        assert eventually(lambda: is_closed_soon(held.enter_context(tight.http()))), "there is an end to it"
    assert eventually(lambda: is_admitted(tight)), "there is room again"
    assert eventually(lambda: tight.counter('pushd_connections{transport="tcp"}') == 0)
    assert tight.wait_for_log("tcp 127.0.0.1: refused, ")


def is_closed_soon(client: Client) -> bool:
    """Tell whether a connection is closed without having asked for anything, within a moment."""
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


def hold(daemon: Daemon, held: ExitStack, target: str) -> Http:
    http = held.enter_context(daemon.http())
    http.open_stream(target, FORWARDED)
    return http


def test_too_many_connections_from_one_address_behind_a_proxy(tight: Daemon) -> None:
    with ExitStack() as held:
        hold(tight, held, "/stream/a")
        answer = tight.request("GET", "/stream/a", FORWARDED)
        assert (answer.status, answer.code) == (429, "too-many-connections")
        assert int(answer.headers["retry-after"]) > 0
        hold_other = held.enter_context(tight.http())
        hold_other.open_stream("/stream/a", {"X-Forwarded-For": "192.0.2.1, 192.0.2.2"})


def test_an_event_source_is_told_to_come_back(tight: Daemon) -> None:
    """An EventSource gives up for ever on 429, so overload answers 200 and closes."""
    with ExitStack() as held:
        hold(tight, held, "/sse/a")
        http = held.enter_context(tight.http())
        answer = http.request("GET", "/sse/a", FORWARDED)
        assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
        assert b"retry: " in answer.body


@pytest.mark.parametrize("forwarded", ["garbage", "", ",", "192.0.2.300", "[::1]", "a" * 3000, "\x85", "127.0.0.1"])
def test_a_proxy_that_speaks_nonsense(tight: Daemon, forwarded: str) -> None:
    with tight.http() as http:
        http.open_stream("/stream/a", {"X-Forwarded-For": forwarded})
