"""Where to listen: an address and a port, or an endpoint string of Twisted."""

import ipaddress
import re
from typing import Final

from pushd.config.mistakes import shown
from pushd.config.parsers import string_list

_ADDRESS = re.compile(r"(?:(?:\[(?P<ipv6>[^\]]*)\]|(?P<host>[^:\[\]]*)):)?(?P<port>[0-9]{1,15})")
_PROXIED: Final = "haproxy:"
_LOOPBACK: Final = "127.0.0.1"
ACCEPTED: Final = (
    "accepted: HOST:PORT with an IP address or localhost, :PORT or PORT for 127.0.0.1, or an endpoint string such as "
    "tcp:8080:interface=127.0.0.1"
)


def endpoints(value: object) -> tuple[str, ...]:
    """Return a list of endpoint strings. A port may be a number."""
    values = value if isinstance(value, list) else [value] if _is_port(value) else value
    if isinstance(values, list):
        return string_list(endpoint)([str(each) if _is_port(each) else each for each in values])
    return string_list(endpoint)(values)


def endpoint(text: str) -> str:
    """Return an endpoint string. An address and a port, ``[::1]:8080``, is converted to the one that it stands for;
    without an address it is 127.0.0.1. Of endpoint strings only the form is checked: `check_endpoint` checks the rest.
    """
    if text.startswith(_PROXIED):
        return f"{_PROXIED}{endpoint(text.removeprefix(_PROXIED))}"
    match = _ADDRESS.fullmatch(text)
    address = _address(match["ipv6"], match["host"]) if match else None
    if match and address is not None:
        port = int(match["port"])
        if port > 65535:
            raise ValueError(f"{shown(text)} has an invalid port: must be between 0 and 65535")
        kind = "tcp6" if ":" in address else "tcp"
        escaped = address.replace(":", r"\:")
        return f"{kind}:{port}:interface={escaped}"
    kind, colon, _ = text.partition(":")
    if not (kind and colon) or (match and match["ipv6"] is not None):
        raise ValueError(f"{shown(text)} is neither an address with a port nor an endpoint string ({ACCEPTED})")
    return text


def _address(ipv6: str | None, host: str | None) -> str | None:
    """Return an address to bind; None if it is none, and the text may be an endpoint string."""
    if ipv6 is None and host in (None, "", "localhost"):
        return _LOOPBACK
    try:
        return str(ipaddress.IPv4Address(host) if ipv6 is None else ipaddress.IPv6Address(ipv6))
    except ValueError:
        return None


def _is_port(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
