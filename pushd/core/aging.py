"""Channels with an age of their own, in the order in which their oldest messages expire.

Each has one entry in a heap, however many messages it has. An entry is only a time to look: the oldest message may have
been removed for another reason meanwhile.
"""

import heapq
import math
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

_STALE = 1024
"""Stale entries that may stay in the heap, beside as many as there were valid ones."""


class Aging(Protocol):
    """A channel, as far as it ages."""

    due: float
    """When to look for its expired messages; infinite when there is no entry for it."""


K = TypeVar("K", int, str)
C = TypeVar("C", bound=Aging)


class AgingChannels(Generic[K, C]):
    """The channels by the time at which to look for their expired messages.

    :param find: returns the channel of a key; None if it does not exist any more.
    """

    def __init__(self, find: Callable[[K], C | None]) -> None:
        self._find: Callable[[K], C | None] = find
        self._heap: list[tuple[float, K]] = []
        """An entry is stale if its time is not that of its channel."""
        self._most = _STALE

    @property
    def next_due(self) -> float:
        """When to call `take`; infinite when there is no channel."""
        return self._heap[0][0] if self._heap else math.inf

    def schedule(self, key: K, channel: C, due: float) -> None:
        """Look at a channel at `due`, and at no other time."""
        channel.due = due
        heapq.heappush(self._heap, (due, key))
        if len(self._heap) > self._most:
            self._heap = [entry for entry in self._heap if self._channel(entry) is not None]
            heapq.heapify(self._heap)
            self._most = 2 * len(self._heap) + _STALE

    def take(self) -> C | None:
        """Remove the first entry and return its channel, which has to be scheduled again; None if it was stale."""
        channel = self._channel(heapq.heappop(self._heap))
        if channel is not None:
            channel.due = math.inf
        return channel

    def _channel(self, entry: tuple[float, K]) -> C | None:
        due, key = entry
        channel = self._find(key)
        return None if channel is None or channel.due != due else channel
