"""The register of open connections: each has a number of its own, and so an id, in the order in which they came."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from heapq import nsmallest
from operator import attrgetter

from pushd.core.subscriber import Subscriber


class Register:
    """Who is connected. Numbers grow and are not given twice, so a page can begin behind one that is gone."""

    def __init__(self) -> None:
        self._open: dict[int, Subscriber] = {}
        self._newest = 0

    def add(self, subscriber: Subscriber, now: float) -> None:
        """Give a subscriber its number, which stands in its name from now on.

        :param now: unix seconds.
        """
        self._newest += 1
        subscriber.number, subscriber.connected_at = self._newest, int(now)
        subscriber.name += f" #{subscriber.id}"
        self._open[self._newest] = subscriber

    def remove(self, subscriber: Subscriber) -> None:
        """Forget a subscriber, if it is here."""
        self._open.pop(subscriber.number, None)

    def find(self, number: int) -> Subscriber | None:
        """Give the one with that number."""
        return self._open.get(number)

    def page(self, after: int, limit: int) -> Sequence[Subscriber]:
        """Give at most `limit` that came after the one with number `after`, the oldest first."""
        # The dictionary is in order already. A list of its keys is a copy of pointers: 100,000 take about 2 ms.
        numbers = list(self._open)
        start = bisect_right(numbers, after)
        return [self._open[number] for number in numbers[start : start + limit]]


def page_among(crowd: Iterable[Subscriber], after: int, limit: int) -> Sequence[Subscriber]:
    """Give of a crowd in any order at most `limit` that came after number `after`, the oldest first."""
    return nsmallest(limit, (each for each in crowd if each.number > after), key=attrgetter("number"))
