"""The peer: who is at the other end of a connection."""


class Peer:
    """The identity of a connection. Its number, and so its id, are assigned when it is registered.

    :param transport: the name of the transport, as in the metrics.
    :param address: the address of the client, or ``unix``.
    """

    __slots__ = ("address", "connected_at", "number", "transport")

    def __init__(self, transport: str, address: str) -> None:
        self.transport = transport
        self.address = address
        self.number = 0
        """The place in the register; 0 before the peer is registered."""
        self.connected_at = 0
        """When the peer was registered, in unix seconds."""

    @property
    def id(self) -> str:
        """The public form of the number."""
        return f"{self.number:x}"

    def __str__(self) -> str:
        """Return the label of the peer in log lines: transport, address and, once registered, the id."""
        label = f"{self.transport} {self.address}"
        return f"{label} #{self.id}" if self.number else label
