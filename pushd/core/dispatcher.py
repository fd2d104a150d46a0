"""The dispatcher: from the log to all who hear it.

What is accepted in one reactor turn goes out together: one batch per channel, shared by its subscribers, and
for those who hear several of these channels one batch in id order. A large crowd is served in slices; what came
first is finished first.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from pushd.core.delivery import Batch, Delivery, Recent, Wire
from pushd.core.index import TopicIndex
from pushd.core.message import Message
from pushd.core.outbox import Policy
from pushd.core.subscriber import Subscriber

_TURN_MESSAGES = 1000
_TURN_BYTES = 1 << 20
"""What may gather in one turn before it is cut into a batch: what a subscriber's queue holds by default."""


SendEach = Callable[[list[Any], bytes], Sequence[tuple[int, int]]]
"""Sends a block by each of some handles (see `Subscriber.attach`); gives the place of each that did not take it whole,
and how many bytes it took: none where it would have to wait or is broken, which its own connection finds out."""


def send_one_by_one(sends: list[Callable[[bytes], int]], block: bytes) -> Sequence[tuple[int, int]]:
    """Send where handles do so themselves, as the bound `send` of a socket does; see `SendEach`."""
    size = len(block)
    shorter = []
    for place, send in enumerate(sends):
        try:
            sent = send(block)
        except OSError:
            sent = 0
        if sent != size:
            shorter.append((place, sent))
    return shorter


_BEHIND = 256
"""Jobs that may wait; each has at most what gathers in one turn."""


class Unheard(NamedTuple):
    """A subscriber that could not hear, and why; a refusal, or a bug."""

    subscriber: Subscriber
    cause: Exception


class _Job:
    """Work that is done slice by slice: a batch for those who hear it, or the end of a channel."""

    __slots__ = ("_done", "_subscribers", "batch", "channel", "since")

    def __init__(
        self, subscribers: Sequence[Subscriber], since: float, batch: Batch | None = None, channel: str = ""
    ) -> None:
        self.since = since
        self.batch = batch
        self.channel = channel
        self._subscribers = subscribers
        self._done = 0

    @property
    def is_done(self) -> bool:
        """Whether everybody was served."""
        return self._done >= len(self._subscribers)

    def take(self, most: int) -> Sequence[Subscriber]:
        """Take those whose turn it is."""
        begin = self._done
        self._done += most
        return self._subscribers if not begin and self.is_done else self._subscribers[begin : begin + most]


class Dispatcher:
    """Fan-out of messages to subscribers."""

    def __init__(self, recent: Recent, send_each: SendEach = send_one_by_one) -> None:
        self.index: TopicIndex[Subscriber] = TopicIndex()
        self.delivered = 0
        """Messages handed to subscribers, times the subscribers."""
        self.dropped: Counter[Policy] = Counter()
        """Messages let go for slow subscribers, by their policy."""
        self.sent: dict[str, list[int]] = {}
        """Messages and bytes sent to all who were ready, times their number, by the form of their wire."""
        self.now = 0.0
        """Since when what comes now may wait, in seconds; whoever gives the turns sets it."""
        self.served_since = 0.0
        """Since when that waited which the last `run` served first."""
        self._lagging: list[Subscriber] = []
        self._newest = 0
        self._recent = recent
        self._send_each = send_each
        self._gathered: dict[str, list[Delivery]] = {}
        self._tour = 0
        """Counts the looks at who hears several channels; each leaves its number on all it came by."""
        self._count = 0
        self._bytes = 0
        self._jobs: deque[_Job] = deque()
        self.hour = 0
        """What those who are sent to are marked with, for the keepalive."""

    def strike(self, hour: int) -> None:
        """Know the hour."""
        self.hour = hour

    @property
    def is_behind(self) -> bool:
        """Whether so much waits for its turn that no more ought to be accepted."""
        return len(self._jobs) > _BEHIND

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

    def part(self, topics: Sequence[str], subscriber: Subscriber) -> None:
        """Let a subscriber hear no more of `topics`, not even what was accepted and is not delivered yet."""
        for topic in topics:
            self.index.remove(topic, subscriber)
        subscriber.part(*topics, newest=self._newest)

    def end(self, channel: str) -> None:
        """Tell those who named `channel` that it has ended, behind all that was accepted so far."""
        self._cut()
        self._jobs.append(_Job(list(self.index.exactly(channel)), self.now, channel=channel))

    def run(self, limit: int) -> list[Unheard]:
        """Serve at most `limit` subscribers; give those that could not hear."""
        self._cut()
        failures: list[Unheard] = []
        self.served_since = self._jobs[0].since if self._jobs else self.now
        while self._jobs and limit > 0:
            job = self._jobs[0]
            part = job.take(limit)
            limit -= len(part)
            if job.batch is None:
                self._tell_end(part, job.channel, failures)
            else:
                self._fan_out(part, job.batch, failures)
            if job.is_done:
                self._jobs.popleft()
        return failures

    def take_lagging(self) -> list[Subscriber]:
        """Take those for whom messages began to be let go since the last call."""
        lagging, self._lagging = self._lagging, []
        return lagging

    def _gather(self, message: Message) -> None:
        delivery = self._recent.of(message)
        self._gathered.setdefault(message.channel, []).append(delivery)
        self._count += 1
        self._bytes += delivery.size
        if self._count >= _TURN_MESSAGES or self._bytes >= _TURN_BYTES:
            self._cut()

    def _cut(self) -> None:
        """Make jobs of what has gathered."""
        if not self._gathered:
            return
        for subscribers, batch in self._plan(self._gathered):
            self.delivered += len(subscribers) * len(batch.deliveries)
            self._jobs.append(_Job(subscribers, self.now, batch))
        self._gathered, self._count, self._bytes = {}, 0, 0

    def _plan(self, gathered: dict[str, list[Delivery]]) -> Iterator[tuple[Sequence[Subscriber], Batch]]:
        """Find who hears which of the gathered channels, and share a batch among those who hear the same."""
        if len(gathered) == 1:
            ((channel, deliveries),) = gathered.items()
            yield self.index.match(channel), Batch(deliveries)
            return
        matched = [self.index.match(channel) for channel in gathered]
        if self._is_disjoint(matched):
            for subscribers, deliveries in zip(matched, gathered.values(), strict=True):
                yield subscribers, Batch(deliveries)
            return
        heard: dict[Subscriber, tuple[str, ...]] = {}
        for channel, subscribers in zip(gathered, matched, strict=True):
            alone = (channel,)
            for subscriber in subscribers:
                others = heard.get(subscriber)
                heard[subscriber] = others + alone if others else alone
        groups: dict[tuple[str, ...], list[Subscriber]] = {}
        for subscriber, channels in heard.items():
            groups.setdefault(channels, []).append(subscriber)
        for channels, group in groups.items():
            together = chain.from_iterable(gathered[channel] for channel in channels)
            yield group, Batch(sorted(together, key=lambda delivery: delivery.message.seq))

    def _is_disjoint(self, crowds: Iterable[Sequence[Subscriber]]) -> bool:
        """Tell whether nobody is in two of these."""
        self._tour += 1
        tour = self._tour
        for subscribers in crowds:
            for subscriber in subscribers:
                if subscriber.tour == tour:
                    return False
                subscriber.tour = tour
        return True

    def _fan_out(self, subscribers: Iterable[Subscriber], batch: Batch, failures: list[Unheard]) -> None:
        """Let subscribers hear a batch. This loop is the daemon's work: those who are ready are only put on a list, and
        have the block with all others of their wire.
        """
        first, count, hour = batch.first, len(batch.deliveries), self.hour
        wire: Wire | None = None
        ready: list[Subscriber] = []
        lists: dict[Wire, list[Subscriber]] = {}
        for subscriber in subscribers:
            if subscriber.threshold < first:
                if subscriber.wire is not wire:
                    wire = subscriber.wire
                    ready = lists.setdefault(wire, [])
                ready.append(subscriber)
                subscriber.spoke = hour
                subscriber.sent += count
                continue
            try:
                self._deliver(batch, subscriber)
            except Exception as cause:  # one subscriber's failure never reaches the next
                failures.append(Unheard(subscriber, cause))
        for wire, ready in lists.items():
            self._send(ready, wire, batch, failures)

    def _send(self, ready: list[Subscriber], wire: Wire, batch: Batch, failures: list[Unheard]) -> None:
        try:
            block = batch.block(wire)
            shorter = self._send_each([subscriber.handle for subscriber in ready], block)
        except Exception as cause:
            failures.extend([Unheard(subscriber, cause) for subscriber in ready])
            return
        totals = self.sent.setdefault(wire.form, [0, 0])
        totals[0] += len(ready) * len(batch.deliveries)
        totals[1] += len(ready) * len(block)
        rests: dict[int, bytes] = {}
        for place, sent in shorter:
            try:
                rest = rests.get(sent) or rests.setdefault(sent, block[sent:])
                ready[place].outlet.write(rest)
            except Exception as cause:
                failures.append(Unheard(ready[place], cause))

    def _deliver(self, batch: Batch, subscriber: Subscriber) -> None:
        if dropped := subscriber.deliver(batch):
            self.note_dropped(subscriber, dropped)

    def note_dropped(self, subscriber: Subscriber, dropped: int) -> None:
        """Know that so many messages were let go for a subscriber."""
        if dropped:
            self.dropped[subscriber.policy] += dropped
            if not subscriber.is_lagging:
                subscriber.is_lagging = True
                self._lagging.append(subscriber)

    @staticmethod
    def _tell_end(subscribers: Iterable[Subscriber], channel: str, failures: list[Unheard]) -> None:
        for subscriber in subscribers:
            try:
                subscriber.end(channel)
            except Exception as cause:
                failures.append(Unheard(subscriber, cause))
