"""The limits of the HTTP listeners."""

from dataclasses import dataclass, field

from pushd.core.outbox import QueueLimits


@dataclass(frozen=True)
class HttpLimits:
    """The limits of the HTTP listeners, as plain values."""

    message: int = 1 << 20
    """The most bytes of a request body, unless its resource sets another limit."""
    batch: int = 16 << 20
    """The most bytes of a batch of messages."""
    event: int = 255
    """The most bytes of an event type."""
    topics: int = 1000
    """The most topics of a request."""
    headers: int = 16 << 10
    """The most bytes of a request head."""
    handshake: float = 10.0
    """Seconds from the first byte of a request to the end of its head."""
    upload: float = 300.0
    """Seconds from the end of the head to the end of the body."""
    queue: QueueLimits = field(default_factory=QueueLimits)
