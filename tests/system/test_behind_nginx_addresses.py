"""Client addresses behind nginx: `X-Forwarded-For` counts only from trusted proxies."""

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
_SERVER = """
proxy_set_header X-Forwarded-For {value};
proxy_http_version 1.1;
proxy_set_header Upgrade $http_upgrade;
proxy_set_header Connection $connection_upgrade;
location / {{ proxy_pass http://127.0.0.1:{port}; {more} }}
"""


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """Ports of nginx in front of a daemon that trusts 127.0.0.1 and allows one stream per address.

    nginx itself sees addresses of this machine, which are not limited. So it forwards the header of the test unchanged
    (`forwarded`), or with its own entry (`appended`), or from an address that is not trusted (`untrusted`).
    """
    with ExitStack() as stack:
        one = ("--limits-connections-per-address", "1")
        daemon = Daemon(tmp_path_factory.mktemp("pushd"), *one, "--http-trusted-proxies", "127.0.0.1")
        stack.callback(daemon.stop)
        forwarded, appended = "$http_x_forwarded_for", "$proxy_add_x_forwarded_for"
        servers = {
            "forwarded": _SERVER.format(value=forwarded, port=daemon.http_port, more=""),
            "appended": _SERVER.format(value=appended, port=daemon.http_port, more=""),
            "untrusted": _SERVER.format(value=forwarded, port=daemon.http_port, more="proxy_bind 127.0.0.2;"),
        }
        nginx = Nginx(tmp_path_factory.mktemp("nginx"), servers, _MAP)
        stack.callback(nginx.stop)
        yield nginx.ports
        daemon.assert_healthy()


def status(http: Http, target: str, address: str, **more: str) -> int:
    """Request a stream as a client of an address; return the status."""
    http.send_request("GET", target, {"X-Forwarded-For": address} | more)
    return http.head().status


@pytest.mark.parametrize("target", ["/sse/x", "/sub/x"])
def test_event_source_over_the_limit_is_asked_to_reconnect(ports: dict[str, int], target: str):
    """After an error status it would never reconnect."""
    port = ports["forwarded"]
    with Http(port) as first, Http(port) as second, Http(port) as third:
        assert status(first, target, ONE, **EVENTS) == 200
        answer = second.request("GET", target, {"X-Forwarded-For": ONE} | EVENTS)
        assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
        assert re.fullmatch(rb"(:.*\n)?retry: [1-9][0-9]+\n+", answer.body)
        assert status(third, target, OTHER, **EVENTS) == 200


@pytest.mark.parametrize("target", ["/stream/x", "/multipart/x", "/mixed/x", "/longpoll/x", "/ws/x"])
def test_other_transports_over_the_limit_are_refused(ports: dict[str, int], target: str):
    port, more = ports["forwarded"], HANDSHAKE if "ws" in target else {}
    with Http(port) as first, Http(port) as second:
        assert status(first, "/sse/x", ONE) == 200
        answer = second.request("GET", target, {"X-Forwarded-For": ONE, **more})
        assert (answer.status, answer.code) == (429, "too-many-connections")
        assert int(answer.headers["retry-after"]) > 0


def test_slot_is_released(ports: dict[str, int]):
    port = ports["forwarded"]
    with Http(port) as first:
        assert status(first, "/stream/x", ONE) == 200

    def is_admitted() -> bool:
        with Http(port) as second:
            return status(second, "/stream/x", ONE) == 200

    assert eventually(is_admitted)


def test_appended_address_of_a_trusted_proxy_counts(ports: dict[str, int]):
    """nginx appends 127.0.0.1, which is trusted too: the entry before it is the client."""
    port = ports["appended"]
    with Http(port) as first, Http(port) as second, Http(port) as third:
        assert status(first, "/stream/x", ONE) == 200
        assert status(second, "/stream/x", f"{OTHER}, {ONE}") == 429
        assert status(third, "/stream/x", f"{ONE}, {OTHER}") == 200


def test_header_of_an_untrusted_proxy_is_ignored(ports: dict[str, int]):
    port = ports["untrusted"]
    with Http(port) as first, Http(port) as second:
        assert status(first, "/stream/x", THIRD) == 200
        assert status(second, "/stream/x", THIRD) == 200


def test_all_slots_are_usable_behind_a_proxy(tmp_path_factory: pytest.TempPathFactory):
    """A stream counts once, with the proxy's connection."""
    with ExitStack() as stack:
        trusting = ("--limits-connections", "2", "--http-trusted-proxies", "127.0.0.1")
        daemon = Daemon(tmp_path_factory.mktemp("pushd"), *trusting)
        stack.callback(daemon.stop)
        server = _SERVER.format(value="$http_x_forwarded_for", port=daemon.http_port, more="")
        nginx = Nginx(tmp_path_factory.mktemp("nginx"), {"forwarded": server}, _MAP)
        stack.callback(nginx.stop)
        clients = [stack.enter_context(Http(nginx.ports["forwarded"])) for _ in range(2)]
        assert [status(client, "/stream/x", ONE) for client in clients] == [200, 200]
