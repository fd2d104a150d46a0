"""The dispatcher: from the log to all who hear it.

What is accepted in one reactor turn goes out together: one batch per channel, shared by its subscribers, and
for those who hear several of these channels one batch in id order. A large crowd is served in slices; what came
first is finished first.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from itertools import chain, islice
from typing import NamedTuple

from pushd.core.delivery import Batch, Delivery, Recent
from pushd.core.index import TopicIndex
from pushd.core.message import Message
from pushd.core.subscriber import Subscriber

_TURN_MESSAGES = 1000
_TURN_BYTES = 1 << 20
"""What may gather in one turn before it is cut into a batch: what a subscriber's queue holds by default."""


class Unheard(NamedTuple):
    """A subscriber that could not hear, and why; a refusal, or a bug."""

    subscriber: Subscriber
    cause: Exception


class Dispatcher:
    """Fan-out of messages to subscribers."""

    def __init__(self, recent: Recent) -> None:
        self.index: TopicIndex[Subscriber] = TopicIndex()
        self.delivered = 0
        """Messages handed to subscribers, times the subscribers."""
        self.dropped = 0
        """Messages let go for slow subscribers."""
        self._lagging: list[Subscriber] = []
        self._newest = 0
        self._recent = recent
        self._gathered: dict[str, list[Delivery]] = {}
        self._count = 0
        self._bytes = 0
        self._jobs: deque[Iterator[Unheard | None]] = deque()

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to `run`."""
        return not (self._jobs or self._gathered)

    def accept(self, message: Message) -> None:
        """Take a message that is in the history now."""
        self._newest = message.seq
        if self.index.match(message.channel):
            if not message.is_mark:
                self._gather(message)
            if message.end:
                self.end(message.channel)

    def part(self, topic: str, subscriber: Subscriber) -> None:
        """Let a subscriber hear no more of a topic, not even what was accepted and is not delivered yet."""
        self.index.remove(topic, subscriber)
        subscriber.part(topic, self._newest)

    def end(self, channel: str) -> None:
        """Tell those who named `channel` that it has ended, behind all that was accepted so far."""
        self._cut()
        self._jobs.append(self._each(list(self.index.exactly(channel)), lambda subscriber: subscriber.end(channel)))

    def run(self, limit: int) -> list[Unheard]:
        """Serve at most `limit` subscribers; give those that could not hear."""
        self._cut()
        failures: list[Unheard] = []
        while self._jobs and limit > 0:
            outcomes = list(islice(self._jobs[0], limit))
            failures.extend(filter(None, outcomes))
            limit -= len(outcomes)
            if limit > 0:
                self._jobs.popleft()
        return failures

    def take_lagging(self) -> list[Subscriber]:
        """Take those for whom messages began to be let go since the last call."""
        lagging, self._lagging = self._lagging, []
        return lagging

    def _gather(self, message: Message) -> None:
        self._gathered.setdefault(message.channel, []).append(self._recent.of(message))
        self._count += 1
        self._bytes += message.size
        if self._count >= _TURN_MESSAGES or self._bytes >= _TURN_BYTES:
            self._cut()

    def _cut(self) -> None:
        """Make jobs of what has gathered."""
        if not self._gathered:
            return
        for subscribers, batch in self._plan(self._gathered):
            self.delivered += len(subscribers) * len(batch.deliveries)
            self._jobs.append(self._each(subscribers, partial(self._deliver, batch)))
        self._gathered, self._count, self._bytes = {}, 0, 0

    def _plan(self, gathered: dict[str, list[Delivery]]) -> Iterator[tuple[Collection[Subscriber], Batch]]:
        """Find who hears which of the gathered channels, and share a batch among those who hear the same."""
        if len(gathered) == 1:
            ((channel, deliveries),) = gathered.items()
            yield list(self.index.match(channel)), Batch(deliveries)
            return
        heard: dict[Subscriber, tuple[str, ...]] = {}
        for channel in gathered:
            alone = (channel,)
            for subscriber in self.index.match(channel):
                others = heard.get(subscriber)
                heard[subscriber] = others + alone if others else alone
        groups: dict[tuple[str, ...], list[Subscriber]] = {}
        for subscriber, channels in heard.items():
            groups.setdefault(channels, []).append(subscriber)
        for channels, subscribers in groups.items():
            together = chain.from_iterable(gathered[channel] for channel in channels)
            yield subscribers, Batch(sorted(together, key=lambda delivery: delivery.message.seq))

    def _deliver(self, batch: Batch, subscriber: Subscriber) -> None:
        if dropped := subscriber.deliver(batch):
            self.dropped += dropped
            if not subscriber.is_lagging:
                subscriber.is_lagging = True
                self._lagging.append(subscriber)

    @staticmethod
    def _each(subscribers: Iterable[Subscriber], serve: Callable[[Subscriber], None]) -> Iterator[Unheard | None]:
        for subscriber in subscribers:
            try:
                serve(subscriber)
            except Exception as cause:  # one subscriber's failure never reaches the next
                yield Unheard(subscriber, cause)
            else:
                yield None
