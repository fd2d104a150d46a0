"""What one listener heard, and what is wrong with it. A listener stays the same one whatever way it comes back."""

from collections.abc import Callable, Mapping
from typing import Any


class Ear:
    """Judges messages as they come.

    :param name: stands in the faults.
    :param fault: is told what is wrong, in a sentence.
    """

    def __init__(self, name: str, fault: Callable[[str], None]) -> None:
        self.name = name
        self.cursor: str | None = None
        """The id to come back with."""
        self.numbers: dict[str, int] = {}
        """The last number heard, by channel: publishers number their messages."""
        self.gaps = 0
        self.heard = 0
        self._fault = fault
        self._excused: set[str] = set()
        """Channels of which the next message may be any, since a gap was told."""

    def hear(self, id: str, channel: str, number: int) -> None:
        """Take a message."""
        before = self.numbers.get(channel)
        if self.cursor is not None and _place(id) <= _place(self.cursor):
            self._fault(f"{self.name}: {channel} {number} is {id}, and comes behind {self.cursor}")
        elif before is not None and number != before + 1 and channel not in self._excused:
            self._fault(f"{self.name}: {channel} went on with {number} behind {before}, and no gap was told")
        self._excused.discard(channel)
        self.cursor = id
        self.numbers[channel] = number
        self.heard += 1

    def gap(self) -> None:
        """Take the word that messages are missing."""
        self.gaps += 1
        self._excused.update(self.numbers)

    def lacks(self, last: Mapping[str, int]) -> list[str]:
        """Name the channels of which the end was not heard, `last` being the last number of each."""
        return [channel for channel, number in self.numbers.items() if number < last[channel]]


def _place(id: str) -> tuple[Any, ...]:
    epoch, _, number = id.rpartition("-")
    return epoch, int(number)
