"""Check of the messages that one subscriber receives, across reconnects and transports."""

from collections.abc import Callable, Mapping
from typing import Any


class SequenceCheck:
    """Finds lost, repeated and reordered messages.

    :param name: begins each fault.
    :param report: called with a sentence for each fault.
    """

    def __init__(self, name: str, report: Callable[[str], None]) -> None:
        self.name = name
        self.cursor: str | None = None
        """The id to resume with."""
        self.last_numbers: dict[str, int] = {}
        """The last number received, by channel: publishers number their messages."""
        self.gaps = 0
        self.received = 0
        self._report = report
        self._excused: set[str] = set()
        """Channels whose next message may have any number, since a gap was reported."""

    def on_message(self, id: str, channel: str, number: int) -> None:
        """Check a message."""
        previous = self.last_numbers.get(channel)
        if self.cursor is not None and _position(id) <= _position(self.cursor):
            self._report(f"{self.name}: {channel} {number} has the id {id}, but follows {self.cursor}")
        elif previous is not None and number != previous + 1 and channel not in self._excused:
            self._report(f"{self.name}: {channel} continued with {number} after {previous} without a gap report")
        self._excused.discard(channel)
        self.cursor = id
        self.last_numbers[channel] = number
        self.received += 1

    def on_gap(self) -> None:
        """Accept that messages of any channel may be missing."""
        self.gaps += 1
        self._excused.update(self.last_numbers)

    def missing(self, published: Mapping[str, int]) -> list[str]:
        """Return the channels whose last message was not received.

        :param published: the last number of each channel.
        """
        return [channel for channel, number in self.last_numbers.items() if number < published[channel]]


def _position(id: str) -> tuple[Any, ...]:
    epoch, _, number = id.rpartition("-")
    return epoch, int(number)
