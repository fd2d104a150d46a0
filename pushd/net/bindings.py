"""What endpoint strings bind: whether two of them exclude each other, and whether one could listen now."""

import errno
import ipaddress
import os
import socket
from contextlib import closing
from typing import Final, NamedTuple

from pushd.net.listeners import PORT_AT, read_endpoint, without_proxy_protocol

_ANY: Final = "0.0.0.0"
_ANY_IPV6: Final = "::"
_SECONDS: Final = 1.0
"""The most time to find out whether a Unix socket is in use."""


class Binding(NamedTuple):
    """What a listener binds."""

    host: str
    """An IP address; empty for a Unix socket and for one of systemd."""
    place: int | str
    """The port; the path of a Unix socket, or the position among the sockets of systemd."""

    def excludes(self, other: "Binding") -> bool:
        """Return whether both cannot listen at the same time. Port 0 is another one each time."""
        if self.place != other.place or self.place == 0:
            return False
        hosts = {self.host, other.host}
        is_wide = _ANY_IPV6 in hosts or (_ANY in hosts and not any(":" in host for host in hosts))
        return len(hosts) == 1 or is_wide


def binding_of(endpoint_text: str) -> Binding | None:
    """Return what a valid endpoint string binds; None if that is not known."""
    kind, plain, named = read_endpoint(without_proxy_protocol(endpoint_text)[0])
    if kind == "unix":
        return Binding("", os.path.realpath(named.get("address", plain[0] if plain else "")))
    if kind == "systemd":
        return Binding("", f"systemd socket {named.get('index', named.get('name', ''))}")
    if kind not in PORT_AT:
        return None
    port = named["port"] if "port" in named else plain[PORT_AT[kind]]
    return Binding(_host(kind, named.get("interface", "")), int(port))


def why_unavailable(binding: Binding, *, is_shared: bool = False) -> str | None:
    """Return why nothing could listen there now; None if it could. Nothing is changed, and no file is created.

    :param is_shared: whether other processes of this user may listen on the same port.
    """
    try:
        if not isinstance(binding.place, int):
            return "another process listens on it" if _is_answered(binding.place) else None
        family = socket.AF_INET6 if ":" in binding.host else socket.AF_INET
        with closing(socket.socket(family)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if is_shared:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            probe.bind((binding.host, binding.place))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return "another process listens on it"
        return error.strerror or str(error)
    return None


def _is_answered(path: str) -> bool:
    """Return whether something listens on a Unix socket."""
    with closing(socket.socket(socket.AF_UNIX)) as probe:
        probe.settimeout(_SECONDS)
        return probe.connect_ex(path) in (0, errno.EAGAIN)


def _host(kind: str, interface: str) -> str:
    """Return the address of an interface in one form; a name is left as it is."""
    if not interface:
        return _ANY_IPV6 if kind == "tcp6" else _ANY
    if interface == "localhost":
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(interface)
    except ValueError:
        return interface
    return str(getattr(address, "ipv4_mapped", None) or address)
