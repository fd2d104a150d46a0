"""What calls return."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .messages import Message


@dataclass(frozen=True)
class Receipt:
    """The daemon has accepted a message."""

    channel: str
    id: str | None
    """The id; None for an ephemeral message and for a reply."""
    subscribers: int
    """The subscribers of the node that received it."""
    is_local: bool = False
    """Whether only subscribers of one node received it, since Redis was unavailable."""


@dataclass(frozen=True)
class History:
    """Stored messages, oldest first."""

    messages: list[Message]
    cursor: str
    """The cursor from which to continue or to subscribe."""
    gap: str | None = None
    """The reason why messages are missing, if some are."""

    def __iter__(self) -> Iterator[Message]:
        """Iterate over the messages."""
        return iter(self.messages)

    def __len__(self) -> int:
        """Return the number of messages."""
        return len(self.messages)


@dataclass(frozen=True)
class Member:
    """A member of a channel."""

    id: str
    since: float
    """When it entered, in unix seconds."""
    connections: int
    """Its open connections; 0 if it has only a lease, or is in its grace."""
    meta: Any = None


@dataclass(frozen=True)
class Members:
    """A page of the members of a channel, sorted by id."""

    channel: str
    count: int
    """The number of all members."""
    cursor: str
    """The cursor from which to follow ``$presence/CHANNEL``: that of the first page."""
    members: list[Member]
    next: str | None = None
    """What to pass as `after` for the next page; None on the last."""

    def __iter__(self) -> Iterator[Member]:
        """Iterate over the members of the page."""
        return iter(self.members)

    def __len__(self) -> int:
        """Return the number of members of the page."""
        return len(self.members)


@dataclass(frozen=True)
class Heartbeat:
    """What the daemon knows about the heartbeats of an id."""

    id: str
    online: bool
    last: float | None
    """When the last one arrived, in unix seconds."""
    lag: float | None
    """How much later it arrived than its timestamp, in milliseconds."""


@dataclass(frozen=True)
class Reply:
    """The reply to a request."""

    data: Any
    """As in `Message`."""
    content_type: str
    sender: str | None = None
    """The subject of the responder's token, where it is known."""
