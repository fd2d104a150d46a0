"""Admission: limits on the number of connections, in total and per address.

IPv6 addresses are counted by their /64, since a site is assigned at least that (RFC 6177). Connections from loopback
count towards the total only.
"""

import ipaddress
import resource
from collections import Counter
from collections.abc import Callable
from functools import lru_cache

from pushd.core.errors import TooManyConnections

_CACHED_NETWORKS = 4096
"""Addresses whose network is cached: parsing an address costs as much as the rest of an admission."""
_CONNECTION_SHARE = 0.9
"""The share of the file limit that connections may use. The rest is for the log, the backend and the listeners."""


_SPARE = 16
"""Slots beyond the limit, for short requests such as health checks, which matter most when the daemon is full."""


class Slot:
    """The place of one connection within the limits."""

    __slots__ = ("_network", "_release")

    is_spare = False
    """Whether the slot is beyond the limit, and therefore only for a short request."""

    def __init__(self, release: Callable[[str | None], None], network: str | None) -> None:
        self._release: Callable[[str | None], None] | None = release
        self._network = network

    def release(self) -> None:
        """Free the slot. Further calls have no effect."""
        leave, self._release = self._release, None
        if leave is not None:
            leave(self._network)


class _SpareSlot(Slot):
    """A slot beyond the limit."""

    __slots__ = ()

    is_spare = True


class Admission:
    """Counts connections, and refuses those beyond the limits.

    :param total: the most connections.
    :param per_address: the most connections from one address.
    """

    def __init__(self, total: int, per_address: int) -> None:
        self._total = total
        self._per_address = per_address
        self._admitted = 0
        self._by_network: Counter[str] = Counter()
        self._bound_release = self._release
        """Bound once, so that slots share it."""

    def reconfigure(self, total: int, per_address: int) -> None:
        """Change the limits for new connections. Admitted connections stay."""
        self._total, self._per_address = total, per_address

    def __len__(self) -> int:
        """Return the number of admitted connections."""
        return self._admitted

    def admit(self, address: str | None, *, count_address: bool = True) -> Slot:
        """Admit a connection.

        :param address: the IP address of the peer; None if the transport has none.
        :param count_address: False for a trusted proxy, which carries the requests of many clients.
        :raises TooManyConnections: when the limit is reached, in total or for the address.
        """
        self._check(self._total)
        network = self._add_network(address) if count_address else None
        self._admitted += 1
        return Slot(self._bound_release, network)

    def admit_spare(self, address: str | None, *, count_address: bool = True) -> Slot:
        """Admit a connection, with a spare slot if the total is reached; see `admit`."""
        if self._admitted < self._total:
            return self.admit(address, count_address=count_address)
        self._check(self._total + _SPARE)
        network = self._add_network(address) if count_address else None
        self._admitted += 1
        return _SpareSlot(self._bound_release, network)

    def admit_behind_proxy(self, address: str) -> Slot:
        """Admit a stream of a client behind a proxy. It counts by address only: the proxy's connection has a slot.

        :param address: the IP address of the client.
        :raises TooManyConnections: when the limit of the address is reached.
        """
        network = self._add_network(address)
        return Slot(self._remove_network, network)

    def _check(self, total: int) -> None:
        if self._admitted >= total:
            raise TooManyConnections(f"connection limit of {self._total} reached")

    def _release(self, network: str | None) -> None:
        self._admitted -= 1
        self._remove_network(network)

    def _add_network(self, address: str | None) -> str | None:
        network = network_of(address)
        if network is not None:
            if self._by_network[network] >= self._per_address:
                raise TooManyConnections(f"connection limit of {self._per_address} per address reached")
            self._by_network[network] += 1
        return network

    def _remove_network(self, network: str | None) -> None:
        if network is not None:
            self._by_network[network] -= 1
            if not self._by_network[network]:
                del self._by_network[network]


@lru_cache(_CACHED_NETWORKS)
def network_of(address: str | None) -> str | None:
    """Return the IPv4 address or the IPv6 /64 by which an address is counted; None for loopback and non-IP peers."""
    try:
        parsed = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    if parsed.is_loopback:
        return None
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def raise_file_limit(wanted: int) -> int:
    """Raise the soft limit on open files for `wanted` connections, as far as the hard limit allows (setrlimit(2)).

    :return: the number of connections that the limit allows, at most `wanted`.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = int(wanted / _CONNECTION_SHARE) + 1
    if soft != resource.RLIM_INFINITY and soft < needed:
        raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft = raised
    return wanted if soft == resource.RLIM_INFINITY else min(wanted, int(soft * _CONNECTION_SHARE))
