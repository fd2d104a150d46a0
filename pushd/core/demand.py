"""Demand: how many subscribers of this node hear each topic. A store is told of the first and of the last."""

from collections import Counter
from collections.abc import Callable


class Demand:
    """Counts, by topic.

    :param first: is called with a topic that somebody hears now and nobody did.
    :param last: is called with a topic that nobody hears any more.
    """

    def __init__(self, first: Callable[[str], None], last: Callable[[str], None]) -> None:
        self._first = first
        self._last = last
        self._counts: Counter[str] = Counter()

    def add(self, topic: str) -> None:
        """Know of one more."""
        self._counts[topic] += 1
        if self._counts[topic] == 1:
            self._first(topic)

    def remove(self, topic: str) -> None:
        """Know of one less."""
        self._counts[topic] -= 1
        if not self._counts[topic]:
            del self._counts[topic]
            self._last(topic)
