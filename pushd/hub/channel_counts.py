"""Counts of the messages of each channel, while somebody asks for them."""

from collections.abc import Callable
from typing import Final

_KEPT: Final = 30.0
"""Seconds for which messages are counted after the last question."""
_MOST: Final = 100_000
"""Channels that are counted; messages of further ones are not."""


class ChannelCounts:
    """How many messages this node has accepted, or received from other nodes, in each channel.

    Nothing is counted, and no memory is used, unless somebody has asked in the last 30 seconds.

    :param seconds: returns monotonic seconds.
    """

    __slots__ = ("_counts", "_seconds", "_until", "is_on", "started")

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._counts: dict[str, int] = {}
        self._until = 0.0
        self.is_on = False
        """Whether messages are counted."""
        self.started = 0.0
        """When the count began, in monotonic seconds."""

    def watch(self) -> None:
        """Count messages for the next 30 seconds; the counts begin at 0 unless they are running."""
        now = self._seconds()
        self._stop_if_over(now)
        if not self.is_on:
            self.is_on, self.started = True, now
        self._until = now + _KEPT

    def count(self, channel: str) -> None:
        """Count a message. To be called only if `is_on`."""
        self._stop_if_over(self._seconds())
        if self.is_on and (channel in self._counts or len(self._counts) < _MOST):
            self._counts[channel] = self._counts.get(channel, 0) + 1

    def of(self, channel: str) -> int:
        """Return the number of messages of a channel since the count began."""
        return self._counts.get(channel, 0)

    @property
    def age(self) -> float:
        """The seconds since the count began."""
        return self._seconds() - self.started

    def _stop_if_over(self, now: float) -> None:
        if self.is_on and now > self._until:
            self.is_on = False
            self._counts = {}
