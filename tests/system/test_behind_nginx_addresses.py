"""Whose address counts behind nginx: the client's where the configuration trusts the proxy, else the proxy's."""

import re
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.daemon.clients import HANDSHAKE, Http
from tests.daemon.real import Daemon, eventually
from tests.system.nginx import Nginx

pytestmark = pytest.mark.system

ONE, OTHER, THIRD = "203.0.113.7", "2001:db8::7", "203.0.113.9"
EVENTS = {"Accept": "text/event-stream"}
_MAP = "map $http_upgrade $connection_upgrade { default upgrade; '' close; }"
_TELLS = """
proxy_set_header X-Forwarded-For {who};
proxy_http_version 1.1;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection $connection_upgrade;
location / {{ proxy_pass http://127.0.0.1:{port}; {more} }}
"""


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """Ports of nginx before a daemon that trusts 127.0.0.1 and has room for one stream an address.

    What nginx sees here are addresses of this machine, which are not counted: so it tells a header of the test in
    place of them (`told`), or behind it, as is usual (`appended`), or from an address that is not trusted (`stranger`).
    """
    with ExitStack() as stack:
        one = ("--limits-connections-per-address", "1")
        daemon = Daemon(tmp_path_factory.mktemp("pushd"), *one, "--http-trusted-proxies", "127.0.0.1")
        stack.callback(daemon.stop)
        told, appended = "$http_x_forwarded_for", "$proxy_add_x_forwarded_for"
        servers = {
            "told": _TELLS.format(who=told, port=daemon.http_port, more=""),
            "appended": _TELLS.format(who=appended, port=daemon.http_port, more=""),
            "stranger": _TELLS.format(who=told, port=daemon.http_port, more="proxy_bind 127.0.0.2;"),
        }
        nginx = Nginx(tmp_path_factory.mktemp("nginx"), servers, _MAP)
        stack.callback(nginx.stop)
        yield nginx.ports
        daemon.assert_healthy()


def status(http: Http, target: str, address: str, **more: str) -> int:
    """Ask for a stream as a client of an address; give the status of the answer, of which the headers are read."""
    http.send_request("GET", target, {"X-Forwarded-For": address} | more)
    return http.head().status


@pytest.mark.parametrize("target", ["/sse/x", "/sub/x"])
def test_an_event_source_over_the_limit_is_asked_to_come_back(ports: dict[str, int], target: str):
    """An error status would make it give up for ever."""
    port = ports["told"]
    with Http(port) as first, Http(port) as second, Http(port) as third:
        assert status(first, target, ONE, **EVENTS) == 200
        answer = second.request("GET", target, {"X-Forwarded-For": ONE} | EVENTS)
        assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
        assert re.fullmatch(rb"(:.*\n)?retry: [1-9][0-9]+\n+", answer.body)
        assert status(third, target, OTHER, **EVENTS) == 200


@pytest.mark.parametrize("target", ["/stream/x", "/multipart/x", "/mixed/x", "/longpoll/x", "/ws/x"])
def test_others_over_the_limit_are_refused(ports: dict[str, int], target: str):
    port, more = ports["told"], HANDSHAKE if "ws" in target else {}
    with Http(port) as first, Http(port) as second:
        assert status(first, "/sse/x", ONE) == 200
        answer = second.request("GET", target, {"X-Forwarded-For": ONE, **more})
        assert (answer.status, answer.code) == (429, "too-many-connections")
        assert int(answer.headers["retry-after"]) > 0


def test_a_place_is_given_back(ports: dict[str, int]):
    port = ports["told"]
    with Http(port) as first:
        assert status(first, "/stream/x", ONE) == 200

    def is_admitted() -> bool:
        with Http(port) as second:
            return status(second, "/stream/x", ONE) == 200

    assert eventually(is_admitted)


def test_the_addresses_that_trusted_proxies_append_count(ports: dict[str, int]):
    """nginx sees 127.0.0.1, which is trusted too, and appends it: the one before it is that of the client."""
    port = ports["appended"]
    with Http(port) as first, Http(port) as second, Http(port) as third:
        assert status(first, "/stream/x", ONE) == 200
        assert status(second, "/stream/x", f"{OTHER}, {ONE}") == 429
        assert status(third, "/stream/x", f"{ONE}, {OTHER}") == 200


def test_the_word_of_a_proxy_that_is_not_trusted_is_ignored(ports: dict[str, int]):
    port = ports["stranger"]
    with Http(port) as first, Http(port) as second:
        assert status(first, "/stream/x", THIRD) == 200
        assert status(second, "/stream/x", THIRD) == 200


def test_all_places_can_be_had_behind_a_proxy(tmp_path_factory: pytest.TempPathFactory):
    """A stream needs no place besides that of the proxy's connection on which it came."""
    with ExitStack() as stack:
        trusting = ("--limits-connections", "2", "--http-trusted-proxies", "127.0.0.1")
        daemon = Daemon(tmp_path_factory.mktemp("pushd"), *trusting)
        stack.callback(daemon.stop)
        server = _TELLS.format(who="$http_x_forwarded_for", port=daemon.http_port, more="")
        nginx = Nginx(tmp_path_factory.mktemp("nginx"), {"told": server}, _MAP)
        stack.callback(nginx.stop)
        clients = [stack.enter_context(Http(nginx.ports["told"])) for _ in range(2)]
        assert [status(client, "/stream/x", ONE) for client in clients] == [200, 200]
