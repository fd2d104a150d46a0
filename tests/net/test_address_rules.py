"""The addresses to which requests are sent, and the endpoint that connects to no others."""

import socket
from collections.abc import Sequence
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from pushd.net.address_rules import CheckingReactor, is_address, problem_of


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "febf::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
    ],
)
def test_refused_with_and_without_tls(host: str) -> None:
    assert problem_of(host)
    assert problem_of(host, is_plain=True)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "::1", "10.1.2.3", "172.31.0.1", "192.168.0.1", "fd12::1", "::ffff:10.0.0.1"]
)
def test_private_address_is_allowed_without_tls(host: str) -> None:
    assert problem_of(host, is_plain=True) == problem_of(host) == ""


@pytest.mark.parametrize("host", ["93.184.215.14", "172.32.0.1", "2001:db8::1", "100.64.0.1"])
def test_public_address_needs_tls(host: str) -> None:
    assert problem_of(host) == ""
    assert problem_of(host, is_plain=True) == f"{host} is a public address, which needs https://"


def test_names_are_no_addresses() -> None:
    assert is_address("::1")
    assert not is_address("localhost")


@implementer(IHostnameResolver)
class Resolver:
    """Resolves each name to some addresses, which may differ each time."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)

    def resolveHostName(
        self, resolutionReceiver: Any, hostName: str, portNumber: int = 0, *args: Any, **options: Any
    ) -> Any:
        receiver = resolutionReceiver
        receiver.resolutionBegan(self)
        for host in self.answers.pop(0):
            kind = IPv6Address if ":" in host else IPv4Address
            receiver.addressResolved(kind("TCP", host, portNumber))
        receiver.resolutionComplete()
        return self


class ResolvingReactor:
    """The reactor with a resolver of its own. It counts connections by address."""

    def __init__(self, reactor: Any, resolver: Resolver) -> None:
        self._reactor = reactor
        self.nameResolver = resolver
        self.connected: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def connectTCP(self, host: str, *args: Any, **options: Any) -> Any:
        self.connected.append(host)
        return self._reactor.connectTCP(host, *args, **options)


@pytest_twisted.ensureDeferred
async def test_connects_only_to_addresses_that_are_allowed() -> None:
    from twisted.internet import reactor

    untyped: Any = reactor
    port = untyped.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
    try:
        # A second lookup would have another answer; there is none.
        resolver = Resolver(["169.254.169.254", "127.0.0.1", "fe80::1"])
        resolving = ResolvingReactor(reactor, resolver)
        checking = CheckingReactor(resolving, problem_of)
        endpoint = HostnameEndpoint(checking, "app.example.org", port.getHost().port)
        protocol: Any = await endpoint.connect(Factory.forProtocol(Protocol))
        assert resolving.connected == ["127.0.0.1"]
        assert resolver.answers == []
        protocol.transport.abortConnection()
    finally:
        await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_name_without_an_allowed_address_is_refused() -> None:
    from twisted.internet import reactor

    resolving = ResolvingReactor(reactor, Resolver(["169.254.169.254"], []))
    checking = CheckingReactor(resolving, problem_of)
    endpoint = HostnameEndpoint(checking, "metadata.example.org", 80)
    with pytest.raises(DNSLookupError):
        await endpoint.connect(Factory())
    assert checking.refused == "169.254.169.254 is a link-local address, or that of a metadata service"
    with pytest.raises(DNSLookupError):
        await endpoint.connect(Factory())
    assert checking.refused == ""
    assert resolving.connected == []


@pytest_twisted.ensureDeferred
async def test_literal_address_and_its_spellings_are_resolved_too() -> None:
    from twisted.internet import reactor

    for host in ("169.254.169.254", "2852039166", "0xa9.254.169.254"):
        try:
            socket.getaddrinfo(host, 80, flags=socket.AI_NUMERICHOST)
        except OSError:
            continue
        checking = CheckingReactor(reactor, problem_of)
        with pytest.raises(DNSLookupError):
            await HostnameEndpoint(checking, host, 80).connect(Factory())
        assert checking.refused
