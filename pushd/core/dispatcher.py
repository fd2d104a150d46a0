"""The dispatcher: fan-out of accepted messages to subscribers.

The messages accepted in one reactor turn are sent together: one batch per channel, shared by its subscribers, and one
batch in id order for the subscribers of several of these channels. Many subscribers are served in slices, in the order
in which the messages were accepted.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

from pushd.core.delivery import Batch, Delivery, Recent, Wire
from pushd.core.dispatch_jobs import Job, Plan
from pushd.core.index import TopicIndex
from pushd.core.message import Message
from pushd.core.outbox import Policy
from pushd.core.subscriber import Subscriber

_TURN_MESSAGES = 1000
_TURN_BYTES = 1 << 20
"""The most that one batch of a turn holds: as much as the queue of a subscriber holds by default."""
_BEHIND = 256
"""Number of waiting jobs that counts as a backlog; each has at most the messages of one turn."""
_MAX_EFFORT = 1000
"""The effort of one subscriber and one batch above which the batch is split; see `Subscriber.effort`."""
_PLANNED = 32
"""Number of subscribers that are grouped in the time of one send."""

SendEach = Callable[[list[Any], bytes], Sequence[tuple[int, int]]]
"""Sends a block by each of some handles (see `Subscriber.attach`). Returns, for each handle that did not send the whole
block, its place and the number of bytes sent: 0 when it would block or is broken, which its connection detects."""


def send_one_by_one(sends: list[Callable[[bytes], int]], block: bytes) -> Sequence[tuple[int, int]]:
    """Send by handles that are callables, such as the bound `send` of a socket; see `SendEach`."""
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


def _in_order(channels: Sequence[Sequence[Delivery]]) -> Sequence[Delivery]:
    """Merge the deliveries of several channels, each in order."""
    if len(channels) == 1:
        return channels[0]
    return sorted(chain.from_iterable(channels), key=attrgetter("rank"))


def _places(bits: int) -> Iterator[int]:
    """Iterate over the positions of the bits that are set."""
    while bits:
        bit = bits & -bits
        yield bit.bit_length() - 1
        bits ^= bit


class DeliveryFailure(NamedTuple):
    """A subscriber to which a delivery failed, and the cause: a refusal, or a bug."""

    subscriber: Subscriber
    cause: Exception


class Dispatcher:
    """Fan-out of messages to subscribers.

    :param clock: returns monotonic seconds; called once per turn, not per message.
    """

    def __init__(
        self, recent: Recent, send_each: SendEach = send_one_by_one, clock: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.delivered = 0
        """Number of deliveries: messages times their subscribers."""
        self.dropped: Counter[Policy] = Counter()
        """Messages dropped for slow subscribers, by policy."""
        self.sent: dict[str, list[int]] = {}
        """Messages and bytes sent by handles, times the subscribers, by the name of the wire."""
        self.latency = 0.0
        """Seconds from the acceptance of what the last `run` served first to the end of that `run`."""
        self._index: TopicIndex[Subscriber] = TopicIndex()
        self._clock = clock
        self._now = 0.0
        """The time at which the messages of this turn were accepted."""
        self._lagging: list[Subscriber] = []
        self._newest = 0
        self._newest_order = 0
        """The `Delivery.order` of the newest message that was gathered."""
        self._served = 0
        self._recent = recent
        self._send_each = send_each
        self._gathered: dict[str, list[Delivery]] = {}
        self._mark = 0
        """Incremented for each search for subscribers of several channels, which marks those it has visited."""
        self._count = 0
        self._bytes = 0
        self._jobs: deque[Job | Plan] = deque()
        self.tick = 0
        """The tick of the keepalive, with which written subscribers are marked."""

    def on_tick(self, tick: int) -> None:
        """Called with each tick of the keepalive."""
        self.tick = tick

    # Subscriptions

    def subscribe(self, topics: Iterable[str], subscriber: Subscriber) -> None:
        """Add a subscriber to topics. What it receives of them live is decided by its own state."""
        for topic in topics:
            self._index.add(topic, subscriber)

    def unsubscribe(self, topics: Sequence[str], subscriber: Subscriber) -> None:
        """Remove a subscriber from topics. It receives no message of them any more, not even an accepted one."""
        self.discard(topics, subscriber)
        subscriber.unsubscribe(*topics, newest=max(self._newest, self._newest_order))

    def discard(self, topics: Iterable[str], subscriber: Subscriber) -> None:
        """Remove a closed subscriber from topics."""
        for topic in topics:
            self._index.remove(topic, subscriber)

    def subscribers_of(self, channel: str) -> Sequence[Subscriber]:
        """Return the subscribers that receive the messages of a channel, by its name or by a pattern, each once."""
        return self._index.match(channel)

    @property
    def is_slow_to_match(self) -> bool:
        """Whether the first search for the subscribers of a channel may take more than a tenth of a millisecond."""
        return self._index.is_slow

    def subscribers_by_name(self, channel: str) -> Collection[Subscriber]:
        """Return the subscribers to the channel itself."""
        return self._index.by_name(channel)

    @property
    def is_behind(self) -> bool:
        """Whether the backlog is so long that a backend should not deliver more for now."""
        return len(self._jobs) > _BEHIND

    @property
    def served(self) -> int:
        """A sequence up to which all accepted messages were handed to their subscribers."""
        return self._newest if self.is_idle else self._served

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to `run`."""
        return not (self._jobs or self._gathered)

    def accept(self, message: Message, excluded: Subscriber | None = None) -> None:
        """Accept a message that is in the history now, or that is only delivered.

        :param excluded: a subscriber that does not receive it.
        """
        if message.is_kept:
            self._newest = message.seq
        if self._index.match(message.channel):
            if not (message.end and message.is_mark):
                self._gather(message, excluded)
            if message.end:
                self.end_channel(message.channel, message.seq + message.is_local)

    def end_channel(self, channel: str, seq: int | None = None) -> None:
        """Report the end of a channel to the subscribers to the channel itself, after all accepted messages.

        :param seq: the sequence of the message that ended it; None if it was deleted, after all accepted messages.
        """
        if self.is_idle:
            self._now = self._clock()
        self._cut()
        subscribers, is_deletion = list(self._index.by_name(channel)), seq is None
        seq = self._newest if seq is None else seq
        self._jobs.append(Job(subscribers, self._now, channel=channel, seq=seq, is_deletion=is_deletion))

    def run(self, limit: int) -> list[DeliveryFailure]:
        """Serve at most `limit` subscribers, fewer when they are expensive; return the failed deliveries."""
        self._cut()
        failures: list[DeliveryFailure] = []
        accepted_at = self._jobs[0].since if self._jobs else self._now
        while self._jobs and limit > 0:
            job = self._jobs[0]
            if isinstance(job, Plan):
                limit -= self._plan_on(job, limit)
                continue
            served = job.take(limit)
            limit -= len(served) * job.weight
            if job.is_done:
                self._jobs.popleft()
            if job.batch is None:
                self._send_end(served, job, failures)
            elif others := self._fan_out(served, job.batch, failures):
                limit -= self._serve(others, job.batch, job.since, limit, failures)
        self._now = self._clock()
        self.latency = self._now - accepted_at
        return failures

    def _plan_on(self, plan: Plan, limit: int) -> int:
        """Continue the first plan until it is done or has cost `limit`; return the cost."""
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
        """Deliver a batch to subscribers that are not sent to by their handle; return the cost, at most `limit`.

        The remaining subscribers become the next job. If one subscriber alone is too expensive, its batch is split.
        """
        done = 0
        for place, subscriber in enumerate(subscribers):
            if place and done > limit:
                self._jobs.appendleft(Job(subscribers[place:], since, batch))
                break
            if not subscriber.prepare(batch):
                self._jobs.appendleft(Job(subscribers[place:], since, batch))
                return done + _MAX_EFFORT
            effort = subscriber.effort(batch)
            count = len(batch.deliveries)
            if effort > _MAX_EFFORT and count > 1:
                size = max(1, count * _MAX_EFFORT // (2 * effort))
                pieces = [Batch(batch.deliveries[first : first + size]) for first in range(0, count, size)]
                self._jobs.appendleft(Job(subscribers[place + 1 :], since, batch))
                self._jobs.extendleft(Job((subscriber,), since, piece) for piece in reversed(pieces))
                break
            done += effort - 1
            try:
                self._deliver(batch, subscriber)
            except Exception as cause:  # one subscriber's failure never reaches the next
                failures.append(DeliveryFailure(subscriber, cause))
        return done

    def take_lagging(self) -> list[Subscriber]:
        """Return the subscribers that have begun to lag since the last call: messages were dropped for them."""
        lagging, self._lagging = self._lagging, []
        return lagging

    def _gather(self, message: Message, excluded: Subscriber | None) -> None:
        if not self._gathered and not self._jobs:
            self._now = self._clock()
            self._served = message.seq - 1 if message.is_kept else self._newest
        if excluded is None:
            delivery = self._recent.of(message)
        else:  # not shared: a forged copy of the message may exclude others
            delivery = Delivery(message, excluded.peer.number)
            excluded.examine_up_to(delivery.order)
        delivery.rank = message.seq * _TURN_MESSAGES + self._count
        self._newest_order = delivery.order
        self._gathered.setdefault(message.channel, []).append(delivery)
        self._count += 1
        self._bytes += delivery.size
        if self._count >= _TURN_MESSAGES or self._bytes >= _TURN_BYTES:
            self._cut()

    def _cut(self) -> None:
        """Make jobs of the messages of this turn."""
        if not self._gathered:
            return
        gathered = self._gathered
        self._gathered, self._count, self._bytes = {}, 0, 0
        if len(gathered) == 1:
            ((channel, deliveries),) = gathered.items()
            self._jobs.append(self._job(self._index.match(channel), deliveries, self._now))
            return
        groups: dict[int, tuple[Sequence[Subscriber], list[list[Delivery]]]] = {}
        for channel, deliveries in gathered.items():
            subscribers = self._index.match(channel)
            groups.setdefault(id(subscribers), (subscribers, []))[1].append(deliveries)
        channel_groups = list(groups.values())
        if self._is_disjoint(subscribers for subscribers, _ in channel_groups):
            self._jobs.extend([self._job(group, _in_order(channels), self._now) for group, channels in channel_groups])
            return
        jobs: list[Job] = []
        self._jobs.append(Plan(self._now, self._plan(channel_groups, self._now, jobs), jobs))

    def _plan(
        self, channel_groups: Sequence[tuple[Sequence[Subscriber], list[list[Delivery]]]], since: float, jobs: list[Job]
    ) -> Iterator[int]:
        """Group subscribers by the channels that they receive, with one batch for each group; see `Plan`.

        :param channel_groups: channels with the same subscribers: these, and the deliveries of each channel.
        """
        received: dict[Subscriber, int] = {}
        for number, (subscribers, _) in enumerate(channel_groups):
            bit = 1 << number
            for first in range(0, len(subscribers), _PLANNED):
                for subscriber in subscribers[first : first + _PLANNED]:
                    received[subscriber] = received.get(subscriber, 0) | bit
                yield 1
        groups: dict[int, list[Subscriber]] = {}
        for count, (subscriber, bits) in enumerate(received.items()):
            groups.setdefault(bits, []).append(subscriber)
            if count % _PLANNED == 0:
                yield 1
        for bits, group in groups.items():
            channels = list(chain.from_iterable(channel_groups[number][1] for number in _places(bits)))
            deliveries = _in_order(channels)
            jobs.append(self._job(group, deliveries, since))
            yield 1 + len(deliveries) // _PLANNED

    def _job(self, subscribers: Sequence[Subscriber], deliveries: Sequence[Delivery], since: float) -> Job:
        self.delivered += len(subscribers) * len(deliveries)
        return Job(subscribers, since, Batch(deliveries))

    def _is_disjoint(self, groups: Iterable[Sequence[Subscriber]]) -> bool:
        """Return whether no subscriber is in two of these groups."""
        self._mark += 1
        mark = self._mark
        for subscribers in groups:
            for subscriber in subscribers:
                if subscriber.mark == mark:
                    return False
                subscriber.mark = mark
        return True

    def _fan_out(
        self, subscribers: Iterable[Subscriber], batch: Batch, failures: list[DeliveryFailure]
    ) -> list[Subscriber]:
        """Send a batch to the subscribers that are ready; return the others.

        This loop is the hot path of the daemon: it only puts each subscriber that is ready on the list of its wire, to
        which the block is then sent.
        """
        others: list[Subscriber] = []
        first, count, tick = batch.first, len(batch.deliveries), self.tick
        wire: Wire | None = None
        ready: list[Subscriber] = []
        lists: dict[Wire, list[Subscriber]] = {}
        for subscriber in subscribers:
            if subscriber.threshold < first:
                if subscriber.wire is not wire:
                    wire = subscriber.wire
                    ready = lists.setdefault(wire, [])
                ready.append(subscriber)
                subscriber.last_write = tick
                subscriber.sent += count
            else:
                others.append(subscriber)
        for wire, ready in lists.items():
            self._send(ready, wire, batch, failures)
        return others

    def _send(self, ready: list[Subscriber], wire: Wire, batch: Batch, failures: list[DeliveryFailure]) -> None:
        try:
            block = batch.block(wire)
            if not block:  # such as an ephemeral message that contains the boundary of the wire
                return
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
        """Count messages that were dropped for a subscriber."""
        if dropped:
            self.dropped[subscriber.policy] += dropped
            if not subscriber.is_lagging:
                subscriber.is_lagging = True
                self._lagging.append(subscriber)

    @staticmethod
    def _send_end(subscribers: Iterable[Subscriber], job: Job, failures: list[DeliveryFailure]) -> None:
        for subscriber in subscribers:
            try:
                subscriber.end(job.channel, job.seq, is_deletion=job.is_deletion)
            except Exception as cause:
                failures.append(DeliveryFailure(subscriber, cause))
