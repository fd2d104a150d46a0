"""Subscriptions: which subscriber has which topics, in the dispatcher and at the backend."""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import chain
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from pushd.backends.interface import Backend
from pushd.core.budget import Budget
from pushd.core.cursor import NOW, Last, Latest, MessageId, Now, Since, parse_id
from pushd.core.dispatcher import Dispatcher
from pushd.core.errors import Refusal, TooManySubscriptions
from pushd.core.names import is_pattern
from pushd.core.replay import StartPosition
from pushd.core.subscriber import Subscriber, SubscriberClosed
from pushd.core.topic_filter import REPLAYING
from pushd.hub.quotas import Quotas, excess_topics, too_many_subscriptions

_FREE_BYTES = 16_000
"""Bytes of topics of a connection that do not count in the memory budget: the limit of connections bounds them."""
_TOPIC_BYTES = 600
"""Bytes of memory of a topic of a connection."""
_SEGMENT_BYTES = 100
"""Bytes of memory of a segment of a pattern, in addition."""
_MAX_SEGMENTS = 16
"""The most segments of a pattern that are counted: more of them share their memory with other patterns."""
_FEW_TOPICS = 32
"""Number of topics that are removed at once when their subscriber is removed."""
_TOPICS_PER_TURN = 1000
"""Number of topics of removed subscribers with more than that, removed in one reactor turn: about 3 ms."""


class SubscriptionObserver(Protocol):
    """What is called when subscriptions begin and end."""

    def on_first(self, topic: str) -> None:
        """Called before the first subscriber of this node is added to a topic."""

    def on_last(self, topic: str) -> None:
        """Called when the last subscriber of this node was removed from a topic."""

    def on_subscribed(self, subscriber: Subscriber, topics: Collection[str]) -> None:
        """Called when a subscriber was added to topics that it did not have."""

    def on_unsubscribed(self, subscriber: Subscriber, topics: Collection[str]) -> None:
        """Called when a subscriber has unsubscribed from topics, or was removed with them."""


class Subscriptions:
    """The topics of all subscribers. The backend is called with the first and with the last subscriber of a topic.

    :param max_topics: the maximum number of topics of a subscriber.
    """

    def __init__(
        self,
        backend: Backend,
        dispatcher: Dispatcher,
        clock: IReactorTime,
        budget: Budget,
        quotas: Quotas,
        max_topics: int,
    ) -> None:
        self._backend = backend
        self._dispatcher = dispatcher
        self._clock = clock
        self._budget = budget
        self._count_topics = quotas.count_topics
        self._max_topics = max_topics
        self._counts: Counter[str] = Counter()
        """Number of subscribers at this node, by topic."""
        self.on_left: Callable[[Subscriber, Sequence[str]], None] = lambda subscriber, topics: None
        """Called when a subscriber has unsubscribed from topics, or was removed with them."""
        self._observer: SubscriptionObserver | None = None
        """Called about all subscriptions."""
        self._removed: deque[tuple[Subscriber, list[str]]] = deque()
        """Removed subscribers, with those of their topics that are still in the index."""

    def reconfigure(self, max_topics: int) -> None:
        """Change the maximum number of topics of a subscriber, for subscriptions from now on."""
        self._max_topics = max_topics

    def observe(self, observer: SubscriptionObserver | None) -> None:
        """Call an observer about all subscriptions from now on; None: nobody."""
        self._observer = observer

    def subscribed_topics(self) -> Iterable[str]:
        """Return the topics with subscribers at this node."""
        return self._counts.keys()

    async def subscribe(self, subscriber: Subscriber, topics: Sequence[str], since: Since) -> StartPosition:
        """See `Hub.subscribe`."""
        _check_open(subscriber)
        fresh = [topic for topic in topics if not isinstance(since, Now) or _is_fresh(topic, subscriber)]
        live = set(topics).difference(fresh) if len(fresh) < len(topics) else set()
        if not fresh:
            position = (await self._backend.open((), NOW)).position
            _check_open(subscriber)
            cursor = self._cursor_of_live(subscriber, live, position)
            return StartPosition(position, (), needs_replay=False, is_complete=False, start_cursor=cursor)
        self._make_room(subscriber, fresh)
        self._charge(subscriber, subscriber.topic_bytes + _memory_of(set(fresh) - subscriber.starts.keys()))
        self._add(fresh, subscriber)
        subscriber.restart(fresh)
        subscriber.start_replay(fresh).reads_history = not isinstance(since, Now)
        try:
            opening = await self.open(fresh, since)
        except BaseException as error:
            self.unsubscribe(subscriber, fresh)
            if isinstance(error, Refusal):
                _check_open(subscriber)
            raise
        _check_open(subscriber)
        if live:
            opening = opening._replace(start_cursor=self._cursor_of_live(subscriber, live, opening.position))
        return opening

    async def open(self, topics: Sequence[str], since: Since) -> StartPosition:
        """Return where a subscription to topics begins, with its start cursor; nothing is subscribed.

        :raises Unavailable: when the backend cannot open the topics.
        """
        opening = await self._backend.open(topics, since)
        if not isinstance(since, Now | Last | Latest) or opening.gaps:
            opening = opening._replace(start_cursor=await self._start_cursor(topics, since, opening))
        return opening

    async def _start_cursor(self, topics: Sequence[str], since: Since, opening: StartPosition) -> MessageId:
        """Return the cursor with which a subscription begins like one with `since`.

        For a cursor this is the cursor itself. Otherwise it is the highest position before the first message, unless
        gaps are reported before: then it is before the first loss, so that a client that is cut receives them again.
        """
        position = opening.position
        if isinstance(since, MessageId):
            return since if opening.gaps else position
        if opening.needs_replay:
            first = await self._backend.page(topics, position, 1, 1)
            known = {(gap.topic, gap.end) for gap in chain(opening.gaps, opening.known_gaps)}
            if all((gap.topic, gap.end) in known for gap in first.gaps):  # else the gap was not reported yet
                position = first.position._replace(seq=first.messages[0].seq - 1) if first.messages else first.position
        lost = [id for gap in opening.gaps if (id := parse_id(gap.end)) is not None]
        return min([position, *(id._replace(seq=id.seq - 1) for id in lost)])

    def _cursor_of_live(self, subscriber: Subscriber, topics: Iterable[str], position: MessageId) -> MessageId:
        """Return a cursor up to which a subscriber was sent all messages of topics that it had before.

        :param position: the cursor is not later.
        """
        oldest = min(subscriber.starts[topic] for topic in topics if topic in subscriber.starts)
        if oldest == REPLAYING:  # it is reading what the backend has missed
            return position._replace(seq=0)
        sent = oldest if subscriber.is_paused else max(oldest, self._dispatcher.served)
        return position._replace(seq=min(position.seq, sent))

    def unsubscribe(self, subscriber: Subscriber, topics: Iterable[str]) -> list[str]:
        """Unsubscribe from topics; return those that the subscriber had."""
        found = [topic for topic in topics if topic in subscriber.starts]
        if found:
            self._dispatcher.unsubscribe(found, subscriber)
            self._charge(subscriber, subscriber.topic_bytes - _memory_of(found))
            self._count_topics(subscriber.peer, -len(found))
        self._count_down(found)
        self._left(subscriber, found)
        return found

    def discard(self, subscriber: Subscriber, topics: list[str]) -> None:
        """Remove all topics of a closed subscriber; in later reactor turns when there are many.

        :param topics: the topics that it had.
        """
        self._charge(subscriber, 0)
        self._count_topics(subscriber.peer, -len(topics))
        self._left(subscriber, topics)
        if len(topics) <= _FEW_TOPICS:
            self._discard(subscriber, topics)
            return
        if not self._removed:
            self._clock.callLater(0, self._discard_some)
        self._removed.append((subscriber, topics))

    def stop(self) -> None:
        """Leave the topics that are still to be removed."""
        self._removed.clear()

    def _charge(self, subscriber: Subscriber, now: int) -> None:
        """Charge `now` bytes for the topics of a subscriber to the memory budget.

        :raises TooManySubscriptions: when all topics take too much memory.
        """
        before = subscriber.topic_bytes
        if before > _FREE_BYTES or now > _FREE_BYTES:
            self._budget.hold_topics(max(0, before - _FREE_BYTES), max(0, now - _FREE_BYTES))
        subscriber.topic_bytes = now

    def _make_room(self, subscriber: Subscriber, fresh: Sequence[str]) -> None:
        """Unsubscribe from the channels that ended first, as far as topics would exceed the maximum or the quota.

        :raises TooManySubscriptions: when that does not make enough room.
        """
        added = len(set(fresh) - subscriber.starts.keys())
        excess = len(subscriber.starts) + added - self._max_topics
        beyond_quota = excess_topics(subscriber.peer, added)
        most = max(excess, beyond_quota)
        if most <= 0:
            return
        ended = [channel for channel in subscriber.ended if channel not in fresh]
        if excess > len(ended):
            raise TooManySubscriptions(f"a connection must not subscribe to more than {self._max_topics} topics")
        if beyond_quota > len(ended):
            raise too_many_subscriptions(subscriber.peer)
        self.unsubscribe(subscriber, ended[:most])

    def _add(self, topics: Sequence[str], subscriber: Subscriber) -> None:
        """Add a subscriber to topics, some of which it may have already."""
        added = {topic: None for topic in topics if topic not in subscriber.starts}
        for topic in added:
            self._counts[topic] += 1
            if self._counts[topic] == 1:
                if self._observer is not None:
                    self._observer.on_first(topic)
                self._backend.subscribe(topic)
        self._count_topics(subscriber.peer, len(added))
        self._dispatcher.subscribe(topics, subscriber)
        if self._observer is not None:
            self._observer.on_subscribed(subscriber, added)

    def _left(self, subscriber: Subscriber, topics: Sequence[str]) -> None:
        self.on_left(subscriber, topics)
        if self._observer is not None:
            self._observer.on_unsubscribed(subscriber, topics)

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
                if self._observer is not None:
                    self._observer.on_last(topic)


def _is_fresh(topic: str, subscriber: Subscriber) -> bool:
    """Return whether a subscriber does not have a topic, or was sent its end."""
    return topic not in subscriber.starts or subscriber.is_at_end_of(topic)


def _check_open(subscriber: Subscriber) -> None:
    """Check that a subscriber is open.

    :raises SubscriberClosed: when it is closed.
    """
    if subscriber.is_closed:
        raise SubscriberClosed(subscriber.closed_for)


def _memory_of(topics: Iterable[str]) -> int:
    """Return the approximate bytes of memory of topics."""
    size = 0
    for topic in topics:
        size += _TOPIC_BYTES
        if is_pattern(topic):
            size += _SEGMENT_BYTES * min(_MAX_SEGMENTS, 1 + topic.count("/"))
    return size
