"""A resource has the methods that its class defines, and HEAD and OPTIONS with them."""

import ipaddress

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock

from pushd.http.limits import HttpLimits
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext, HttpResource
from pushd.http.site import PushSite
from pushd.metrics import Counters
from pushd.net.admission import Admission
from tests.transports.in_memory import Transport


class Reading(HttpResource):
    """A resource that is read."""

    async def get(self, request: Request) -> Answer:
        """Answer with some text."""
        return b"text"


class Writing(Reading):
    """A resource that is written, too."""

    async def post(self, request: Request) -> Answer:
        """Answer with the body."""
        return request.body

    put = post


class Nothing(HttpResource):
    """A resource without methods."""


def ask(resource: type[HttpResource], method: bytes) -> tuple[int, bytes, bytes]:
    """Return the status, the head and the body of the answer of a resource."""
    limits, admission, counters = HttpLimits(), Admission(10, 10), Counters()
    root = resource(HttpContext(limits, counters, admission))
    transport = Transport()
    connection = PushSite(root, Clock(), limits, admission, counters).buildProtocol(None)
    connection.makeConnection(transport)
    connection.dataReceived(method + b" / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nxy")
    head, _, body = transport.value().partition(b"\r\n\r\n")
    return int(head.split()[1]), head, body


@pytest.mark.parametrize(
    ("resource", "method", "status", "body"),
    [
        (Reading, b"GET", 200, b"text"),
        (Reading, b"HEAD", 200, b""),
        (Reading, b"OPTIONS", 204, b""),
        (Writing, b"GET", 200, b"text"),
        (Writing, b"POST", 200, b"xy"),
        (Writing, b"PUT", 200, b"xy"),
        (Nothing, b"OPTIONS", 204, b""),
    ],
)
def test_a_method_that_is_defined(resource: type[HttpResource], method: bytes, status: int, body: bytes) -> None:
    answer = ask(resource, method)
    assert (answer[0], answer[2]) == (status, body)


@pytest.mark.parametrize(
    ("resource", "method", "allowed"),
    [
        (Reading, b"POST", b"GET, HEAD, OPTIONS"),
        (Writing, b"DELETE", b"GET, HEAD, OPTIONS, POST, PUT"),
        (Nothing, b"HEAD", b"OPTIONS"),
        (Nothing, b"PATCH", b"OPTIONS"),
    ],
)
def test_any_other_method_is_refused_with_those_that_are_allowed(
    resource: type[HttpResource], method: bytes, allowed: bytes
) -> None:
    status, head, _ = ask(resource, method)
    assert status == 405
    assert b"\r\nAllow: " + allowed + b"\r\n" in head


def test_a_body_is_limited_like_a_message_unless_a_resource_says_otherwise() -> None:
    context = HttpContext(HttpLimits(message=7, batch=70), Counters(), Admission(10, 10))
    assert Reading(context).max_body(Request(None, b"POST", b"/", {})) == 7  # type: ignore[arg-type]


class Proxied(HttpResource):
    """A resource that answers with the address of the client."""

    async def get(self, request: Request) -> Answer:
        """Answer with the address."""
        return self.context.client_of(request).encode("ascii")


@pytest.mark.parametrize("proxy", ["127.0.0.1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("peer", [IPv4Address("TCP", "127.0.0.1", 1), IPv6Address("TCP", "::ffff:127.0.0.1", 1)])
@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, [::ffff:127.0.0.1]:80", "192.0.2.7"),
        ("192.0.2.7, 127.0.0.1", "192.0.2.7"),
        ("192.0.2.8, ::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, fe80::1%$x", "127.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
def test_ipv4_mapped_addresses_are_ipv4_addresses(proxy: str, peer: IAddress, forwarded: str, client: str) -> None:
    limits, admission, counters = HttpLimits(), Admission(10, 10), Counters()
    context = HttpContext(limits, counters, admission, proxies=(ipaddress.ip_network(proxy),))
    site = PushSite(Proxied(context), Clock(), limits, admission, counters, context.is_proxy)
    transport = Transport()
    connection = site.buildProtocol(peer)
    connection.makeConnection(transport)
    connection.dataReceived(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: %b\r\n\r\n" % forwarded.encode())
    assert transport.value().partition(b"\r\n\r\n")[2] == client.encode("ascii")
