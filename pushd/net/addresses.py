"""The addresses of clients and proxies.

A listener on `::` reports IPv4 peers by IPv4-mapped addresses, such as ``::ffff:192.0.2.7`` (RFC 4291, section
2.5.5.2). They are the same as the IPv4 addresses, wherever they come from.
"""

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_INTERNET = (IPv4Address, IPv6Address)
_MAPPED_PREFIX = "::ffff:"
_MAPPED_BITS = 0xFFFF << 32
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::[0-9]+)?|([^:]*):[0-9]+")
_CACHED_HOSTS = 1024
"""Hosts whose parsed address is cached: those of proxies, and of clients that send many requests."""


def host_of(address: IAddress | None) -> str | None:
    """Return the host of an address; None if it is not an internet address."""
    return plain_host(address.host) if isinstance(address, _INTERNET) else None


def plain_host(host: str) -> str:
    """Return the IPv4 address of an IPv4-mapped one; any other host as it is."""
    if not host.lower().startswith(_MAPPED_PREFIX):
        return host
    try:
        return str(ipaddress.IPv6Address(host).ipv4_mapped or host)
    except ValueError:
        return host


def forwarded_host(text: str) -> str | None:
    """Return the address in an element of ``X-Forwarded-For``, perhaps with a port, in canonical form.

    :return: None if it is not an IP address. One with a scope id is none: that has a meaning on the proxy only.
    """
    text = text.strip()
    found = _WITH_PORT.fullmatch(text)
    try:
        address = ipaddress.ip_address((found[1] or found[2]) if found else text)
    except ValueError:
        return None
    return None if getattr(address, "scope_id", None) else plain_host(str(address))


def is_in_networks(host: str, networks: Iterable[Network]) -> bool:
    """Return whether a host is an IP address in one of some networks. IPv4-mapped ones and IPv4 are the same."""
    address = _as_ipv6(host)
    return address is not None and any(address in _network_as_ipv6(network) for network in networks)


@lru_cache(_CACHED_HOSTS)
def _as_ipv6(host: str) -> ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return ipaddress.IPv6Address(_MAPPED_BITS | int(address)) if address.version == 4 else address


@lru_cache(_CACHED_HOSTS)
def _network_as_ipv6(network: Network) -> ipaddress.IPv6Network:
    if network.version == 6:
        return network
    return ipaddress.IPv6Network((_MAPPED_BITS | int(network.network_address), 96 + network.prefixlen))


def local_url(scheme: str, host: str, port: int) -> str:
    """Return the URL by which a program at this machine reaches a listener.

    :param host: the address on which it listens.
    """
    address = ipaddress.ip_address(host)
    if address.is_unspecified or address.is_loopback:
        return f"{scheme}://localhost:{port}"
    return f"{scheme}://[{host}]:{port}" if address.version == 6 else f"{scheme}://{host}:{port}"
