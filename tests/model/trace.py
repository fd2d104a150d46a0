"""The trace of one subscriber: its connections and what it received on each, in order."""

from dataclasses import dataclass, field
from typing import NamedTuple

from pushd.core.cursor import MessageId, parse_id
from pushd.core.names import matches
from tests.soak.transports import Confirmed, Item, ReceivedCursor, ReceivedGap, ReceivedMessage


class Opened(NamedTuple):
    """The subscriber connects, from a cursor."""

    transport: str
    since: str | None
    slow: str = ""


class Closed(NamedTuple):
    """The connection is closed."""

    why: str


Event = Opened | Closed | Item


@dataclass
class Trace:
    """What a subscriber received from its first connection on. Each connection continues from `cursor`."""

    name: str
    topics: tuple[str, ...]
    since: str | None = None
    """Where the first connection begins: an id, ``all``, ``latest``, or None for now."""
    events: list[tuple[int, Event]] = field(default_factory=list)
    """With their ticks."""
    gaps: list[ReceivedGap] = field(default_factory=list)

    def matches(self, channel: str) -> bool:
        """Return whether the topics match a channel."""
        return any(matches(topic, channel) for topic in self.topics)

    @property
    def cursor(self) -> str | None:
        """The cursor with which to continue; None if there is none yet."""
        for _, event in reversed(self.events):
            if isinstance(event, ReceivedMessage | ReceivedCursor):
                return event.id
            if isinstance(event, Confirmed) and event.cursor is not None:
                return event.cursor
        return self.since

    @property
    def position(self) -> MessageId | None:
        """The cursor as a position."""
        return parse_id(self.cursor or "")
