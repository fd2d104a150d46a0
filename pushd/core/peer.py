"""The peer: who is at the other end of a connection."""

from pushd.core.connection_ids import ConnectionIds


class Peer:
    """The identity of a connection. It has an id from its registration on.

    :param transport: the name of the transport, as in the metrics.
    :param address: the address of the client, or ``unix``.
    """

    __slots__ = ("_ids", "address", "connected_at", "number", "transport")

    def __init__(self, transport: str, address: str) -> None:
        self.transport = transport
        self.address = address
        self.number = 0
        """The place in the register; 0 before the peer is registered."""
        self.connected_at = 0
        """When the peer was registered, in unix seconds."""
        self._ids: ConnectionIds | None = None

    def register(self, number: int, now: int, ids: ConnectionIds) -> None:
        """Assign the number of the connection, of which `ids` makes its id. `now`: unix seconds."""
        self.number, self.connected_at, self._ids = number, now, ids

    @property
    def id(self) -> str:
        """The public id of the connection; empty before the peer is registered."""
        return "" if self._ids is None else self._ids.encode(self.number)

    def __str__(self) -> str:
        """Return the label of the peer in log lines: transport, address and, once registered, the id."""
        label = f"{self.transport} {self.address}"
        return f"{label} #{self.id}" if self.number else label
