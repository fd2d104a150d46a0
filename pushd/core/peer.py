"""The peer: who is at the other end of a connection."""

from collections.abc import Mapping
from typing import Final

from pushd.core.connection_ids import ConnectionIds
from pushd.core.grant import FULL, Grant
from pushd.core.identity import Identity, QuotaKey
from pushd.core.usage import Usage

NO_HEADERS: Final[Mapping[str, str]] = {}


class Peer:
    """Who is at the other end of a connection, and what it may do. It has an id from its registration on.

    :param transport: the name of the transport, as in the metrics.
    :param address: the address of the client, or ``unix``.
    :param grant: what it may do. A later credential may replace it.
    :param identity: who it is, as its credential says; None when it has none.
    :param network: by which its address is counted; None for loopback and unix sockets, which no limit of an address
        concerns.
    """

    __slots__ = (
        "_ids",
        "address",
        "connected_at",
        "forwarded",
        "grant",
        "identity",
        "network",
        "number",
        "transport",
        "usage",
    )

    def __init__(
        self,
        transport: str,
        address: str,
        grant: Grant,
        identity: Identity | None = None,
        network: str | None = None,
    ) -> None:
        self.transport = transport
        self.address = address
        self.grant = grant
        self.identity = identity
        self.network = network
        self.number = 0
        """The place in the register; 0 before the peer is registered."""
        self.connected_at = 0
        """When the peer was registered, in unix seconds."""
        self.usage: Usage | None = None
        """What its subject, or its address, uses of the quota; None when it is not a connection."""
        self.forwarded = NO_HEADERS
        """The headers of its HTTP request that are forwarded to the application, if it is asked about this peer."""
        self._ids: ConnectionIds | None = None

    def register(self, number: int, now: int, ids: ConnectionIds) -> None:
        """Assign the number of the connection, of which `ids` makes its id. `now`: unix seconds."""
        self.number, self.connected_at, self._ids = number, now, ids

    @property
    def issuer(self) -> str | None:
        """The issuer of its credential; None when it has none."""
        return None if self.identity is None else self.identity.issuer

    @property
    def quota_key(self) -> QuotaKey:
        """To whom its quota applies: the subject of an authority, or the address of an anonymous peer."""
        identity = self.identity
        return (None, None, self.network or self.address) if identity is None else self.quota_key_with(identity)

    def quota_key_with(self, identity: Identity) -> QuotaKey:
        """Return to whom its quota applies with a credential."""
        return identity.quota_key or (identity.authority, None, self.network or self.address)

    @property
    def needs_credential(self) -> bool:
        """Whether it has no credential, and nothing is allowed without one: it may only authenticate."""
        return self.identity is None and self.grant.is_empty

    @property
    def id(self) -> str:
        """The public id of the connection; empty before the peer is registered."""
        return "" if self._ids is None else self._ids.encode(self.number)

    def __str__(self) -> str:
        """Return the label of the peer in log lines: transport, address and, once registered, the id."""
        label = f"{self.transport} {self.address}"
        return f"{label} #{self.id}" if self.number else label


DAEMON: Final = Peer("daemon", "local", FULL)
"""The peer of what the daemon itself does, such as the publishes of sources."""
