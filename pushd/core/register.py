"""The register of open connections: each gets a unique number, in the order of arrival, of which its id is made."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from heapq import nsmallest
from operator import attrgetter

from pushd.core.connection_ids import ConnectionIds
from pushd.core.subscriber import Subscriber


class Register:
    """The open connections. Numbers increase and are never reused, so a page can begin after one that is closed.

    :param ids: makes their public ids.
    """

    def __init__(self, ids: ConnectionIds) -> None:
        self._ids = ids
        self._open: dict[int, Subscriber] = {}
        self._newest = 0

    def add(self, subscriber: Subscriber, now: float) -> None:
        """Assign the next number to the peer of a subscriber.

        :param now: unix seconds.
        """
        self._newest += 1
        subscriber.peer.register(self._newest, int(now), self._ids)
        self._open[self._newest] = subscriber

    @property
    def newest(self) -> int:
        """The number of the newest connection, open or closed; 0 before the first."""
        return self._newest

    def remove(self, subscriber: Subscriber) -> None:
        """Remove a registered subscriber.

        :raises KeyError: when it is not registered.
        """
        del self._open[subscriber.peer.number]

    def all(self) -> Collection[Subscriber]:
        """Return all subscribers, whether they have topics or not, the oldest first. It changes with the register."""
        return self._open.values()

    def number_of(self, id: str) -> int | None:
        """Return the number of an open or closed connection; None when the id is none of this daemon."""
        return self._ids.decode(id)

    def find(self, id: str) -> Subscriber | None:
        """Return the subscriber with that id; None if there is none."""
        number = self._ids.decode(id)
        return None if number is None else self._open.get(number)

    def page(self, after: int, limit: int) -> Sequence[Subscriber]:
        """Return at most `limit` subscribers with numbers greater than `after`, the oldest first."""
        # The dictionary is already in order. Copying 100,000 keys to a list takes about 2 ms.
        numbers = list(self._open)
        start = bisect_right(numbers, after)
        return [self._open[number] for number in numbers[start : start + limit]]


def page_among(subscribers: Iterable[Subscriber], after: int, limit: int) -> Sequence[Subscriber]:
    """Return at most `limit` of some subscribers with numbers greater than `after`, the oldest first."""
    return nsmallest(limit, (each for each in subscribers if each.peer.number > after), key=attrgetter("peer.number"))
