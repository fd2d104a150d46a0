"""A hook: where its events are sent, and which they are."""

from dataclasses import dataclass
from typing import Final, Literal, get_args

from pushd.backends.hook_outbox import DEFAULT_BOUNDS, HookBounds
from pushd.core.names import covers

EventType = Literal[
    "connect", "disconnect", "subscribe", "unsubscribe", "enter", "leave", "occupied", "vacated", "publish"
]
EVENT_TYPES: Final[tuple[EventType, ...]] = get_args(EventType)


@dataclass(frozen=True, slots=True)
class HookEndpoint:
    """Where events are sent, and which."""

    name: str
    url: str
    keys: tuple[bytes, ...]
    """The secrets that sign requests."""
    events: frozenset[EventType]
    channels: tuple[str, ...]
    """Names and patterns of the channels whose events are sent; connections have no channel."""
    has_content: bool = False
    """Whether the events of publishes have the data of the message."""
    bounds: HookBounds = DEFAULT_BOUNDS

    def wants(self, event: EventType, topic: str = "") -> bool:
        """Return whether an event is sent.

        :param topic: the channel that it is about, or the pattern of a subscription; empty for connections.
        """
        return event in self.events and (not topic or any(covers(each, topic) for each in self.channels))
