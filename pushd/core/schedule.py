"""A schedule: items by the second at which they are due."""

from collections.abc import Hashable
from heapq import heappop, heappush
from math import ceil
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Schedule(Generic[T]):
    """Items, each due at one time. Operations take constant time, apart from a heap of the seconds that are in use."""

    def __init__(self) -> None:
        self._due: dict[T, int] = {}
        self._at: dict[int, dict[T, None]] = {}
        """The items of each second, in the order in which they were set."""
        self._seconds: list[int] = []
        """A heap of the keys of `_at`."""

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._due)

    def set(self, item: T, at: float) -> None:
        """Add an item that is due at `at`, in seconds, or change when it is due."""
        self.discard(item)
        second = ceil(at)
        self._due[item] = second
        if second not in self._at:
            self._at[second] = {}
            heappush(self._seconds, second)
        self._at[second][item] = None

    def discard(self, item: T) -> None:
        """Remove an item, if it is there."""
        second = self._due.pop(item, None)
        if second is not None:
            del self._at[second][item]

    def take_due(self, now: float) -> list[T]:
        """Remove and return the items that are due, the earliest first."""
        due: list[T] = []
        while self._seconds and self._seconds[0] <= now:
            due += self._at.pop(heappop(self._seconds))
        for item in due:
            del self._due[item]
        return due
