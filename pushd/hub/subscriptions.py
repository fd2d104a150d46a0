"""Subscriptions: which subscriber has which topics, in the dispatcher and at the backend."""

from collections import Counter, deque
from collections.abc import Iterable, Sequence

from twisted.internet.interfaces import IReactorTime

from pushd.backends.interface import Backend
from pushd.core.cursor import MessageId, Now, Since
from pushd.core.dispatcher import Dispatcher
from pushd.core.errors import Refusal, TooManySubscriptions
from pushd.core.replay import StartPosition
from pushd.core.subscriber import Subscriber, SubscriberClosed

_FEW_TOPICS = 32
"""Number of topics that are removed at once when their subscriber is removed."""
_TOPICS_PER_TURN = 1000
"""Number of topics of removed subscribers with more than that, removed in one reactor turn: about 3 ms."""


class Subscriptions:
    """The topics of all subscribers. The backend is called with the first and with the last subscriber of a topic.

    :param max_topics: the maximum number of topics of a subscriber.
    """

    def __init__(self, backend: Backend, dispatcher: Dispatcher, clock: IReactorTime, max_topics: int) -> None:
        self._backend = backend
        self._dispatcher = dispatcher
        self._clock = clock
        self._max_topics = max_topics
        self._counts: Counter[str] = Counter()
        """Number of subscribers at this node, by topic."""
        self._removed: deque[tuple[Subscriber, list[str]]] = deque()
        """Removed subscribers, with those of their topics that are still in the index."""

    def reconfigure(self, max_topics: int) -> None:
        """Change the maximum number of topics of a subscriber, for subscriptions from now on."""
        self._max_topics = max_topics

    async def subscribe(self, subscriber: Subscriber, topics: Sequence[str], since: Since) -> StartPosition:
        """See `Hub.subscribe`."""
        _check_open(subscriber)
        fresh = [topic for topic in topics if not isinstance(since, Now) or _is_fresh(topic, subscriber)]
        if not fresh:
            return StartPosition(MessageId("", 0), (), needs_replay=False, is_complete=False)
        self._make_room(subscriber, fresh)
        self._add(fresh, subscriber)
        subscriber.restart(fresh)
        subscriber.start_replay(fresh)
        try:
            opening = await self._backend.open(fresh, since)
        except BaseException as error:
            self.unsubscribe(subscriber, fresh)
            if isinstance(error, Refusal):
                _check_open(subscriber)
            raise
        _check_open(subscriber)
        return opening

    def unsubscribe(self, subscriber: Subscriber, topics: Iterable[str]) -> list[str]:
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
        """Leave the topics that are still to be removed."""
        self._removed.clear()

    def _make_room(self, subscriber: Subscriber, fresh: Sequence[str]) -> None:
        """Unsubscribe from the channels that ended first, as far as topics would exceed the maximum.

        :raises TooManySubscriptions: when that does not make enough room.
        """
        excess = len(subscriber.starts.keys() | set(fresh)) - self._max_topics
        if excess <= 0:
            return
        ended = [channel for channel in subscriber.ended if channel not in fresh]
        if excess > len(ended):
            raise TooManySubscriptions(f"a connection must not subscribe to more than {self._max_topics} topics")
        self.unsubscribe(subscriber, ended[:excess])

    def _add(self, topics: Sequence[str], subscriber: Subscriber) -> None:
        """Add a subscriber to topics, some of which it may have already."""
        for topic in topics:
            if topic not in subscriber.starts:
                self._counts[topic] += 1
                if self._counts[topic] == 1:
                    self._backend.subscribe(topic)
        self._dispatcher.subscribe(topics, subscriber)

    def _discard_some(self) -> None:
        left = _TOPICS_PER_TURN
        while self._removed and left > 0:
            subscriber, topics = self._removed[0]
            some = topics[-left:]
            del topics[-left:]
            self._discard(subscriber, some)
            left -= len(some)
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


def _is_fresh(topic: str, subscriber: Subscriber) -> bool:
    """Return whether a subscriber does not have a topic, or was sent its end."""
    return topic not in subscriber.starts or subscriber.is_at_end_of(topic)


def _check_open(subscriber: Subscriber) -> None:
    """Check that a subscriber is open.

    :raises SubscriberClosed: when it is closed.
    """
    if subscriber.is_closed:
        raise SubscriberClosed(subscriber.closed_for)
