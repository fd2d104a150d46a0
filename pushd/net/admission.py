"""Admission: how many connections there may be, in all and from one address.

An address counts as the network that one customer gets: IPv6 by /64 (RFC 6177). Peers on this machine count in
all, but not by address.
"""

import ipaddress
import resource
from collections import Counter
from collections.abc import Callable
from functools import lru_cache

from pushd.core.errors import TooManyConnections

_REMEMBERED = 4096
"""Addresses whose network is not worked out again: that costs as much as all else of an admission."""
_RESERVE = 0.9
"""Of the file limit, so that the log, the store and the listeners always find a descriptor."""


_SPARE = 16
"""Places beyond all others, for what is over soon: that somebody asks how the daemon is, above all when it is full."""


class Slot:
    """A place that a connection holds."""

    __slots__ = ("_leave", "_network")

    is_spare = False
    """Whether it is for what is over soon only."""

    def __init__(self, leave: Callable[[str | None], None], network: str | None) -> None:
        self._leave: Callable[[str | None], None] | None = leave
        self._network = network

    def release(self) -> None:
        """Give the place back; a second time does nothing."""
        leave, self._leave = self._leave, None
        if leave is not None:
            leave(self._network)


class _SpareSlot(Slot):
    """One of the spare places."""

    __slots__ = ()

    is_spare = True


class Admission:
    """Counts places."""

    def __init__(self, total: int, per_address: int) -> None:
        self._total = total
        self._per_address = per_address
        self._taken = 0
        self._by_address: Counter[str] = Counter()
        self._left = self._leave
        """Bound once, and not for each place."""

    def allow(self, total: int, per_address: int) -> None:
        """Let there be more or fewer places from now on. Nobody who is in has to go."""
        self._total, self._per_address = total, per_address

    def __len__(self) -> int:
        """How many places are taken."""
        return self._taken

    def enter(self, address: str | None, *, count_address: bool = True) -> Slot:
        """Take a place.

        :param address: the host of the peer; None where the transport has none.
        :param count_address: False for a proxy, which speaks for many.
        :raises TooManyConnections: there is none left, in all or for that address.
        """
        self._check(self._total)
        network = self._enter_network(address) if count_address else None
        self._taken += 1
        return Slot(self._left, network)

    def enter_spare(self, address: str | None, *, count_address: bool = True) -> Slot:
        """Take a place, or where there is none left one of the spare ones; see `enter`."""
        if self._taken < self._total:
            return self.enter(address, count_address=count_address)
        self._check(self._total + _SPARE)
        network = self._enter_network(address) if count_address else None
        self._taken += 1
        return _SpareSlot(self._left, network)

    def enter_behind_proxy(self, address: str) -> Slot:
        """Take a place for a stream of a client behind a proxy, whose connection has one already.

        :raises TooManyConnections: there is none left for that address.
        """
        network = self._enter_network(address)
        return Slot(self._leave_network, network)

    def _check(self, total: int) -> None:
        if self._taken >= total:
            raise TooManyConnections(f"there are {self._total} connections already")

    def _leave(self, network: str | None) -> None:
        self._taken -= 1
        self._leave_network(network)

    def _enter_network(self, address: str | None) -> str | None:
        network = network_of(address)
        if network is not None:
            if self._by_address[network] >= self._per_address:
                raise TooManyConnections(f"there are {self._per_address} connections from that address already")
            self._by_address[network] += 1
        return network

    def _leave_network(self, network: str | None) -> None:
        if network is not None:
            self._by_address[network] -= 1
            if not self._by_address[network]:
                del self._by_address[network]


@lru_cache(_REMEMBERED)
def network_of(address: str | None) -> str | None:
    """Give the network by which an address is counted; None for this machine itself."""
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


def affordable(wanted: int) -> int:
    """Raise the limit of open files as far as may be, and give the connections it allows, at most `wanted`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    goal = int(wanted / _RESERVE) + 1
    if soft != resource.RLIM_INFINITY and soft < goal:
        raised = goal if hard == resource.RLIM_INFINITY else min(goal, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft = raised
    return wanted if soft == resource.RLIM_INFINITY else min(wanted, int(soft * _RESERVE))
