"""Subscriptions: which subscriber has which topics, in the dispatcher and at the backend."""

from collections import Counter, deque
from collections.abc import Iterable, Sequence

from twisted.internet.interfaces import IReactorTime

from pushd.backends.interface import Backend
from pushd.core.dispatcher import Dispatcher
from pushd.core.subscriber import Subscriber

_FEW_TOPICS = 32
"""Number of topics that are removed at once when their subscriber is removed."""
_TOPICS_PER_TURN = 1000
"""Number of topics of removed subscribers with more than that, removed in one reactor turn: about 3 ms."""


class Subscriptions:
    """The topics of all subscribers. The backend is called with the first and with the last subscriber of a topic."""

    def __init__(self, backend: Backend, dispatcher: Dispatcher, clock: IReactorTime) -> None:
        self._backend = backend
        self._dispatcher = dispatcher
        self._clock = clock
        self._counts: Counter[str] = Counter()
        """Number of subscribers at this node, by topic."""
        self._removed: deque[tuple[Subscriber, list[str]]] = deque()
        """Removed subscribers, with those of their topics that are still in the index."""

    def add(self, topics: Sequence[str], subscriber: Subscriber) -> None:
        """Subscribe to topics, some of which the subscriber may have already."""
        for topic in topics:
            if topic not in subscriber.starts:
                self._counts[topic] += 1
                if self._counts[topic] == 1:
                    self._backend.subscribe(topic)
        self._dispatcher.subscribe(topics, subscriber)

    def remove(self, topics: Iterable[str], subscriber: Subscriber) -> list[str]:
        """Unsubscribe from topics; return those that the subscriber had."""
        found = [topic for topic in topics if topic in subscriber.starts]
        if found:
            self._dispatcher.unsubscribe(found, subscriber)
        self._count_down(found)
        return found

    def discard(self, subscriber: Subscriber, topics: list[str]) -> None:
        """Remove all topics of a closed subscriber; in later reactor turns when there are many.

        :param topics: the topics that it had.
        """
        if len(topics) <= _FEW_TOPICS:
            self._discard(subscriber, topics)
            return
        if not self._removed:
            self._clock.callLater(0, self._discard_some)
        self._removed.append((subscriber, topics))

    def stop(self) -> None:
        """Forget the topics that are still to be removed."""
        self._removed.clear()

    def _discard_some(self) -> None:
        left = _TOPICS_PER_TURN
        while self._removed and left > 0:
            subscriber, topics = self._removed[0]
            part = topics[-left:]
            del topics[-left:]
            self._discard(subscriber, part)
            left -= len(part)
            if not topics:
                self._removed.popleft()
        if self._removed:
            self._clock.callLater(0, self._discard_some)

    def _discard(self, subscriber: Subscriber, topics: Sequence[str]) -> None:
        self._dispatcher.discard(topics, subscriber)
        self._count_down(topics)

    def _count_down(self, topics: Iterable[str]) -> None:
        for topic in topics:
            self._counts[topic] -= 1
            if not self._counts[topic]:
                del self._counts[topic]
                self._backend.unsubscribe(topic)
