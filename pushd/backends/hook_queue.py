"""The events of one hook in memory, oldest first."""

from collections import deque

import msgspec

from pushd.backends.hook_outbox import EVENT_OVERHEAD, Backlog, HookBounds, QueuedEvent
from pushd.core.message import Message
from pushd.wire.hook_events import publish_event


class _Entry(msgspec.Struct, frozen=True, eq=False, gc=False):
    """An event; that of a publish is made when it is read."""

    number: int
    channel: str
    time: float
    size: int
    body: bytes | str | Message
    """The event, or the id of a message, or a message whose data is a part of the event."""


class HookQueue:
    """The events of a hook, each with its number.

    :param hook: its name.
    """

    __slots__ = ("_bytes", "_entries", "_hook", "_last", "dead")

    def __init__(self, hook: str) -> None:
        self.dead = 0
        """How many events became dead letters."""
        self._hook = hook
        self._entries: deque[_Entry] = deque()
        self._bytes = 0
        self._last = 0
        """The number of the newest event."""

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self._entries)

    def add(self, channel: str, time: float, body: bytes) -> None:
        """Add an event. The caller enforces the bounds; see `exceeds`."""
        self._add(channel, time, body, len(body))

    def add_publish(self, message: Message, *, has_content: bool) -> None:
        """Add the event of a publish."""
        if has_content:
            self._add(message.channel, message.time, message, message.size)
        else:
            self._add(message.channel, message.time, message.id, 0)

    def exceeds(self, bounds: HookBounds) -> bool:
        """Return whether the oldest event has to be removed."""
        return len(self._entries) > bounds.events or self._bytes > bounds.bytes

    def first(self, count: int, size: int) -> list[QueuedEvent]:
        """Return at most `count` of the oldest events, and no further one once they have `size` bytes."""
        taken: list[QueuedEvent] = []
        for entry in self._entries:
            if len(taken) >= count or size <= 0:
                break
            taken.append(self._event(entry))
            size -= len(taken[-1].body)
        return taken

    def pop(self) -> QueuedEvent:
        """Remove and return the oldest event."""
        entry = self._entries.popleft()
        self._bytes -= entry.size
        return self._event(entry)

    def is_first_through(self, number: int) -> bool:
        """Return whether the oldest event has at most a number."""
        return bool(self._entries) and self._entries[0].number <= number

    def is_first_before(self, time: float) -> bool:
        """Return whether the oldest event was added before a time, in unix seconds."""
        return bool(self._entries) and self._entries[0].time < time

    def remove(self, through: int) -> None:
        """Remove the events up to a number."""
        while self.is_first_through(through):
            self._bytes -= self._entries.popleft().size

    @property
    def backlog(self) -> Backlog:
        """What is there."""
        entries = self._entries
        return Backlog(len(entries), self._bytes, entries[0].time if entries else None, self.dead)

    def _add(self, channel: str, time: float, body: bytes | str | Message, size: int) -> None:
        self._last += 1
        entry = _Entry(self._last, channel, time, EVENT_OVERHEAD + len(channel) + size, body)
        self._entries.append(entry)
        self._bytes += entry.size

    def _event(self, entry: _Entry) -> QueuedEvent:
        number, channel, time, body = entry.number, entry.channel, entry.time, entry.body
        if isinstance(body, str):
            body = publish_event(self._hook, body, channel, time)
        elif isinstance(body, Message):
            body = publish_event(self._hook, body.id, channel, time, body)
        return QueuedEvent(number, channel, time, body)
