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


def _in_order(channels: Sequence[Sequence[Delivery]]) -> Sequence[Delivery]:
    """Join the deliveries of channels, each in id order, in id order."""
    if len(channels) == 1:
        return channels[0]
    return sorted(chain.from_iterable(channels), key=lambda delivery: delivery.message.seq)


def _places(bits: int) -> Iterator[int]:
    """Iterate over the places of the bits that are set."""
    while bits:
        bit = bits & -bits
        yield bit.bit_length() - 1
        bits ^= bit


class DeliveryFailure(NamedTuple):
    """A subscriber that could not hear, and why; a refusal, or a bug."""

    subscriber: Subscriber
    cause: Exception


_HEAVY_BYTES = 32 << 10
"""Bytes of a batch that take as long to send as the send itself."""
_MOST_EFFORT = 1000
"""The effort of one subscriber and one batch above which the batch is cut; see `Subscriber.effort`."""
_PLANNED = 32
"""Subscribers that are sorted by what they hear in the time of one send."""


class _Job:
    """Work that is done slice by slice: a batch for those who hear it, or the end of a channel."""

    __slots__ = ("_done", "_subscribers", "batch", "channel", "since", "weight")

    def __init__(
        self, subscribers: Sequence[Subscriber], since: float, batch: Batch | None = None, channel: str = ""
    ) -> None:
        self.since = since
        self.batch = batch
        self.channel = channel
        self.weight = 1 if batch is None else 1 + batch.size // _HEAVY_BYTES
        """The cost of a send to one subscriber."""
        self._subscribers = subscribers
        self._done = 0

    @property
    def is_done(self) -> bool:
        """Whether everybody was served."""
        return self._done >= len(self._subscribers)

    def take(self, limit: int) -> Sequence[Subscriber]:
        """Take those whose turn it is, for a cost of at most `limit`, but at least one."""
        begin = self._done
        most = limit if self.weight == 1 else max(1, limit // self.weight)
        self._done += most
        return self._subscribers if not begin and self.is_done else self._subscribers[begin : begin + most]


class _Plan:
    """Jobs that are not known yet: who hears which of several channels is worked out slice by slice."""

    __slots__ = ("jobs", "since", "steps")

    def __init__(self, since: float, steps: Iterator[int], jobs: list[_Job]) -> None:
        self.since = since
        self.steps = steps
        """Yields the cost of each step; behind the last, `jobs` is complete."""
        self.jobs = jobs


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
        self._mark = 0
        """Counts the looks at who hears several channels; each leaves its number on all it came by."""
        self._count = 0
        self._bytes = 0
        self._jobs: deque[_Job | _Plan] = deque()
        self.tick = 0
        """What those who are sent to are marked with, for the keepalive."""

    def on_tick(self, hour: int) -> None:
        """Know the hour."""
        self.tick = hour

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
                self.end_channel(message.channel)

    def unsubscribe(self, topics: Sequence[str], subscriber: Subscriber) -> None:
        """Let a subscriber hear no more of `topics`, not even what was accepted and is not delivered yet."""
        for topic in topics:
            self.index.remove(topic, subscriber)
        subscriber.unsubscribe(*topics, newest=self._newest)

    def end_channel(self, channel: str) -> None:
        """Tell those who named `channel` that it has ended, behind all that was accepted so far."""
        self._cut()
        self._jobs.append(_Job(list(self.index.by_name(channel)), self.now, channel=channel))

    def run(self, limit: int) -> list[DeliveryFailure]:
        """Serve at most `limit` subscribers, fewer where that is much work; give those that could not hear."""
        self._cut()
        failures: list[DeliveryFailure] = []
        self.served_since = self._jobs[0].since if self._jobs else self.now
        while self._jobs and limit > 0:
            job = self._jobs[0]
            if isinstance(job, _Plan):
                limit -= self._plan_on(job, limit)
                continue
            part = job.take(limit)
            limit -= len(part) * job.weight
            if job.is_done:
                self._jobs.popleft()
            if job.batch is None:
                self._send_end(part, job.channel, failures)
            elif others := self._fan_out(part, job.batch, failures):
                limit -= self._serve(others, job.batch, job.since, limit, failures)
        return failures

    def _plan_on(self, plan: _Plan, limit: int) -> int:
        """Go on with the first plan, until it is done or has cost `limit`; return the cost."""
        done = 0
        for cost in plan.steps:
            done += cost
            if done >= limit:
                return done
        self._jobs.popleft()
        self._jobs.extendleft(reversed(plan.jobs))
        return done

    def _serve(
        self,
        subscribers: Sequence[Subscriber],
        batch: Batch,
        since: float,
        limit: int,
        failures: list[DeliveryFailure],
    ) -> int:
        """Let those hear a batch who are not sent to by their handle, until that has cost `limit`; return the cost.

        The others are the next job. Where one subscriber alone is too much work, its batch is cut.
        """
        done = 0
        for place, subscriber in enumerate(subscribers):
            if place and done > limit:
                self._jobs.appendleft(_Job(subscribers[place:], since, batch))
                break
            if not subscriber.prepare(batch):
                self._jobs.appendleft(_Job(subscribers[place:], since, batch))
                return done + _MOST_EFFORT
            effort = subscriber.effort(batch)
            count = len(batch.deliveries)
            if effort > _MOST_EFFORT and count > 1:
                size = max(1, count * _MOST_EFFORT // (2 * effort))
                pieces = [Batch(batch.deliveries[first : first + size]) for first in range(0, count, size)]
                self._jobs.appendleft(_Job(subscribers[place + 1 :], since, batch))
                self._jobs.extendleft(_Job((subscriber,), since, piece) for piece in reversed(pieces))
                break
            done += effort - 1
            try:
                self._deliver(batch, subscriber)
            except Exception as cause:  # one subscriber's failure never reaches the next
                failures.append(DeliveryFailure(subscriber, cause))
        return done

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
        gathered = self._gathered
        self._gathered, self._count, self._bytes = {}, 0, 0
        if len(gathered) == 1:
            ((channel, deliveries),) = gathered.items()
            self._jobs.append(self._job(self.index.match(channel), deliveries, self.now))
            return
        crowds: dict[int, tuple[Sequence[Subscriber], list[list[Delivery]]]] = {}
        for channel, deliveries in gathered.items():
            subscribers = self.index.match(channel)
            crowds.setdefault(id(subscribers), (subscribers, []))[1].append(deliveries)
        parts = list(crowds.values())
        if self._is_disjoint(subscribers for subscribers, _ in parts):
            self._jobs.extend([self._job(crowd, _in_order(channels), self.now) for crowd, channels in parts])
            return
        jobs: list[_Job] = []
        self._jobs.append(_Plan(self.now, self._plan(parts, self.now, jobs), jobs))

    def _plan(
        self, parts: Sequence[tuple[Sequence[Subscriber], list[list[Delivery]]]], since: float, jobs: list[_Job]
    ) -> Iterator[int]:
        """Work out who hears which parts, and share a batch among those who hear the same; see `_Plan`.

        :param parts: crowds with the deliveries of the channels that they hear.
        """
        heard: dict[Subscriber, int] = {}
        for number, (crowd, _) in enumerate(parts):
            bit = 1 << number
            for first in range(0, len(crowd), _PLANNED):
                for subscriber in crowd[first : first + _PLANNED]:
                    heard[subscriber] = heard.get(subscriber, 0) | bit
                yield 1
        groups: dict[int, list[Subscriber]] = {}
        for count, (subscriber, bits) in enumerate(heard.items()):
            groups.setdefault(bits, []).append(subscriber)
            if count % _PLANNED == 0:
                yield 1
        for bits, group in groups.items():
            channels = list(chain.from_iterable(parts[number][1] for number in _places(bits)))
            deliveries = _in_order(channels)
            jobs.append(self._job(group, deliveries, since))
            yield 1 + len(deliveries) // _PLANNED

    def _job(self, subscribers: Sequence[Subscriber], deliveries: Sequence[Delivery], since: float) -> _Job:
        self.delivered += len(subscribers) * len(deliveries)
        return _Job(subscribers, since, Batch(deliveries))

    def _is_disjoint(self, crowds: Iterable[Sequence[Subscriber]]) -> bool:
        """Tell whether nobody is in two of these."""
        self._mark += 1
        tour = self._mark
        for subscribers in crowds:
            for subscriber in subscribers:
                if subscriber.mark == tour:
                    return False
                subscriber.mark = tour
        return True

    def _fan_out(
        self, subscribers: Iterable[Subscriber], batch: Batch, failures: list[DeliveryFailure]
    ) -> list[Subscriber]:
        """Let subscribers hear a batch; return those who are not ready. This loop is the daemon's work: those who are
        ready are only put on a list, and have the block with all others of their wire.
        """
        others: list[Subscriber] = []
        first, count, hour = batch.first, len(batch.deliveries), self.tick
        wire: Wire | None = None
        ready: list[Subscriber] = []
        lists: dict[Wire, list[Subscriber]] = {}
        for subscriber in subscribers:
            if subscriber.threshold < first:
                if subscriber.wire is not wire:
                    wire = subscriber.wire
                    ready = lists.setdefault(wire, [])
                ready.append(subscriber)
                subscriber.last_write = hour
                subscriber.sent += count
            else:
                others.append(subscriber)
        for wire, ready in lists.items():
            self._send(ready, wire, batch, failures)
        return others

    def _send(self, ready: list[Subscriber], wire: Wire, batch: Batch, failures: list[DeliveryFailure]) -> None:
        try:
            block = batch.block(wire)
            shorter = self._send_each([subscriber.handle for subscriber in ready], block)
        except Exception as cause:
            failures.extend([DeliveryFailure(subscriber, cause) for subscriber in ready])
            return
        totals = self.sent.setdefault(wire.name, [0, 0])
        totals[0] += len(ready) * len(batch.deliveries)
        totals[1] += len(ready) * len(block)
        rests: dict[int, bytes] = {}
        for place, sent in shorter:
            try:
                rest = rests.get(sent) or rests.setdefault(sent, block[sent:])
                ready[place].outlet.write(rest)
            except Exception as cause:
                failures.append(DeliveryFailure(ready[place], cause))

    def _deliver(self, batch: Batch, subscriber: Subscriber) -> None:
        if dropped := subscriber.deliver(batch):
            self.count_dropped(subscriber, dropped)

    def count_dropped(self, subscriber: Subscriber, dropped: int) -> None:
        """Know that so many messages were let go for a subscriber."""
        if dropped:
            self.dropped[subscriber.policy] += dropped
            if not subscriber.is_lagging:
                subscriber.is_lagging = True
                self._lagging.append(subscriber)

    @staticmethod
    def _send_end(subscribers: Iterable[Subscriber], channel: str, failures: list[DeliveryFailure]) -> None:
        for subscriber in subscribers:
            try:
                subscriber.end(channel)
            except Exception as cause:
                failures.append(DeliveryFailure(subscriber, cause))
