"""The addresses of clients."""

import ipaddress
import re

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress

_INTERNET = (IPv4Address, IPv6Address)
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::[0-9]+)?|([^:]*):[0-9]+")


def host_of(address: IAddress | None) -> str | None:
    """Return the host of an address; None if it is not an internet address."""
    return address.host if isinstance(address, _INTERNET) else None


def is_ip_address(text: str) -> bool:
    """Return whether a text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def without_port(forwarded: str) -> str:
    """Remove the port from a forwarded address, which some proxies add."""
    found = _WITH_PORT.fullmatch(forwarded)
    return (found[1] or found[2]) if found else forwarded
