"""To which addresses the daemon sends requests of its own accord, and a reactor that connects to no others.

A name in the DNS, which others may change, must not lead to the metadata service of a cloud or a machine of the link.
"""

import ipaddress
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from zope.interface import implementer

from pushd.net.addresses import host_of, is_in_networks

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_METADATA: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            *("169.254.0.0/16", "fe80::/10"),
            *("fd00:ec2::/32", "fd20:ce::/32", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
        ),
    )
)
"""Link-local addresses, and those of the metadata services of Amazon, Google, Alibaba, Azure and Oracle."""
_PRIVATE: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("127.0.0.0/8", "::1", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
"""Loopback and private addresses (RFC 1918, RFC 4193)."""
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""Addresses that a gateway translates to IPv4 (RFC 6052)."""


def is_address(host: str) -> bool:
    """Return whether the host of a URL is an address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def problem_of(host: str, *, is_plain: bool = False) -> str:
    """Return why nothing is sent to an address, as a clause; empty if something is.

    :param is_plain: whether it would be sent without TLS.
    """
    address = ipaddress.ip_address(host.partition("%")[0])
    for each in (address, *_embedded(address)):
        if is_in_networks(str(each), _METADATA):
            return f"{host} is a link-local address, or that of a metadata service"
        if each.is_multicast or each.is_unspecified:
            return f"{host} is not the address of one machine"
    if is_plain and not is_in_networks(str(address), _PRIVATE):
        return f"{host} is a public address, which needs https://"
    return ""


def _embedded(address: _Address) -> tuple[_Address, ...]:
    """Return the IPv4 addresses to which an IPv6 address may lead."""
    if isinstance(address, ipaddress.IPv4Address):
        return ()
    translated = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None
    return tuple(each for each in (address.ipv4_mapped, address.sixtofour, translated) if each is not None)


@implementer(IReactorPluggableNameResolver)
class CheckingReactor:
    """A proxy of the reactor for endpoints that connect to a host: they see only the addresses that are allowed.

    They connect to what was resolved and checked, without a second lookup.

    :param problem: returns why nothing is sent to an address; empty if something is.
    :ivar refused: why the last lookup without an allowed address has none; empty if the last one had one.
    """

    def __init__(self, reactor: Any, problem: Callable[[str], str]) -> None:
        self._reactor = reactor
        self._problem = problem
        self.refused = ""
        self.nameResolver = _CheckingResolver(reactor, self._admit, self._begin)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        """See `IReactorPluggableNameResolver`."""
        raise NotImplementedError

    def _begin(self) -> None:
        self.refused = ""

    def _admit(self, address: IAddress) -> bool:
        problem = self._problem(host_of(address) or "")
        if problem:
            self.refused = problem
        return not problem


@implementer(IHostnameResolver)
class _CheckingResolver:
    def __init__(self, reactor: Any, admit: Callable[[IAddress], bool], begin: Callable[[], None]) -> None:
        self._reactor = reactor
        self._admit = admit
        self._begin = begin

    def resolveHostName(
        self, resolutionReceiver: IResolutionReceiver, hostName: str, *args: Any, **options: Any
    ) -> IHostResolution:
        self._begin()
        receiver = _CheckingReceiver(resolutionReceiver, self._admit)
        resolution: IHostResolution = self._reactor.nameResolver.resolveHostName(receiver, hostName, *args, **options)
        return resolution


@implementer(IResolutionReceiver)
class _CheckingReceiver:
    """Passes on the addresses that are allowed."""

    def __init__(self, receiver: Any, admit: Callable[[IAddress], bool]) -> None:
        self._receiver = receiver
        self._admit = admit

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        self._receiver.resolutionBegan(resolutionInProgress)

    def addressResolved(self, address: IAddress) -> None:
        if self._admit(address):
            self._receiver.addressResolved(address)

    def resolutionComplete(self) -> None:
        self._receiver.resolutionComplete()
