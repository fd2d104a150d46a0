"""The log: the one sequence over all channels, their histories, and the answers to cursors.

Pure and synchronous. `now` is monotonic seconds and rules what expires; `time` is unix seconds and is only
written down.

Questions that may be much work are answered in steps of a bounded size, between which the log may change. An answer is
that of the moment of its last step, but for what expires: that is judged by the moment of the question.
"""

import heapq
import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter

from pushd.core.cursor import Age, Everything, Last, MessageId, Now, Since, Time
from pushd.core.errors import TooManyChannels
from pushd.core.history import Bounds, Channel
from pushd.core.losses import NO_LOSS, STEP, Loss, Losses, Query, Steps
from pushd.core.message import Draft, Gap, Message
from pushd.core.names import Interest, is_pattern
from pushd.core.replay import ChannelInfo, Page, StartPosition
from pushd.core.timeline import Timeline

_PAGE_EFFORT = 20_000
"""How many foreign messages a page passes over before it is handed out half full: about 5 ms."""
_EXPIRED_STEP = 500
"""Messages that are let go in one step, for their age: about a millisecond."""
_EXPIRED_BY_APPEND = 16
"""Those that are let go with each message that comes."""
_EXPIRED_FOR_ROOM = 10_000
"""Those that are let go for a channel that has no room: some 20 milliseconds."""
_NAMES_STEP = 4096
_QUERIES_SIZE = 512 << 10
"""Characters of the topics of queries that are remembered, each worth up to 100 bytes of memory."""
_WORTH_TIDYING = 1024
_BOOKKEEPING = 400
"""Bytes that a message takes beside its data and names, so that the bound in all is one of memory."""


class Log:
    """A log in memory."""

    def __init__(self, epoch: str, bounds: Bounds) -> None:
        self.epoch = epoch
        self.bounds = bounds
        self.head = 0
        """The sequence of the newest message."""
        self.bytes = 0
        """What all kept messages take in memory, about."""
        self._channels: OrderedDict[str, Channel] = OrderedDict()
        """Those with messages, the least recently used first. The first of a plain dictionary would be searched among
        the places of all that were taken from its front."""
        self._idle: OrderedDict[str, Channel] = OrderedDict()
        """Those that have none any more; what they lost is still known."""
        self._deleted: OrderedDict[str, Channel] = OrderedDict()
        """Those that were forgotten on demand, so that a cursor of before can be answered truly."""
        self._timeline = Timeline()
        self._deadlines: list[tuple[float, int]] = []
        """A heap of the messages with a time to live of their own."""
        self._due = math.inf
        """Before then nothing is too old."""
        self._losses = Losses()
        self._unknown = 0
        """No channel of which nothing is known any more had anything newer."""
        self._queries: OrderedDict[tuple[str, ...], Query] = OrderedDict()
        """Those by pattern that were asked lately, the least recently used first."""
        self._queries_size = 0

    def __len__(self) -> int:
        """How many messages are kept."""
        return len(self._timeline)

    @property
    def channel_count(self) -> int:
        """How many channels are known."""
        return len(self._channels) + len(self._idle)

    def append(self, draft: Draft, time: float, now: float) -> Message:
        """Accept a message.

        :raises TooManyChannels: it is the first of its channel, and no other channel can be forgotten for it.
        """
        if now >= self._due:
            self._expire(now, _EXPIRED_BY_APPEND)
        channel = self._accept(draft.channel, now)
        self.head = seq = self.head + 1
        prev = f"{self.epoch}-{channel.last}" if channel.last else None
        message = Message(
            self.epoch,
            seq,
            prev,
            draft.channel,
            int(1000 * time) / 1000,
            draft.data,
            draft.content_type,
            draft.encoding,
            draft.event,
            draft.end,
        )
        channel.ended = draft.end
        if not message.is_mark:
            self._keep(channel, message, draft.ttl, now)
        self._place(channel)
        while self.bytes > self.bounds.total_bytes:
            self._shrink(next(iter(self._channels.values())))
        return message

    def expire(self, now: float) -> Steps[None]:
        """Let go of what is too old. Costs nothing where nothing is."""
        while now >= self._due and self._expire(now, _EXPIRED_STEP):
            yield

    def delete(self, name: str) -> bool:
        """Forget a channel with all its messages; tell whether it was known."""
        channel = self._channels.pop(name, None) or self._idle.pop(name, None)
        if channel is None:
            return False
        while channel.messages:
            self._drop_oldest(channel)
        if channel.last > channel.lost:
            channel.lost = channel.last
            self._losses.add(channel, self.head)
        self._deleted[name] = channel
        if len(self._deleted) > self.bounds.channels:
            self._know_no_more(self._deleted.pop(next(iter(self._deleted))))
        return True

    def open(self, topics: Sequence[str], since: Since, time: float, now: float) -> Steps[StartPosition]:
        """Tell where a subscription of `topics` begins and what is gone already, in the order of the topics."""
        if now >= self._due:
            yield from self.expire(now)
        seq, gaps, known = yield from self._begin(topics, since, time)
        position = MessageId(self.epoch, seq)
        returning = isinstance(since, MessageId)
        ended = sum(self._is_finished(topic, seq, returning) for topic in topics)
        behind = seq < self.head or ended > 0
        finished = ended == len(topics) and not gaps
        return StartPosition(position, gaps, behind, finished, self._gaps(topics, known, position) if behind else ())

    def page(self, topics: Sequence[str], after: MessageId, count: int, size: int, now: float) -> Steps[Page]:
        """Read on: at most `count` messages, and no further one once they have `size` bytes."""
        if now >= self._due:
            yield from self.expire(now)
        is_foreign = after.epoch != self.epoch
        start = 0 if is_foreign else after.seq
        losses_before = self._losses.count
        taken, seq = yield from self._take(topics, start, count, size)
        losses = yield from self._losses_of(topics, start)
        if self._losses.count != losses_before:  # what was let go meanwhile is told as a gap
            taken = [message for message in taken if self._timeline.get(message.seq) is not None]
        gaps = self._all_gone(topics, losses, after, "epoch") if is_foreign else self._gaps(topics, losses, after)
        if next(self._timeline.after(seq), None) is not None:
            return Page(tuple(taken), gaps, MessageId(self.epoch, seq), is_last=False)
        ended = tuple(topic for topic in topics if self._is_finished(topic, self.head, returning=False))
        return Page(tuple(taken), gaps, MessageId(self.epoch, self.head), True, ended)

    def info(self, name: str) -> ChannelInfo | None:
        """Tell what is known of a channel; None where nothing is."""
        channel = self._channels.get(name) or self._idle.get(name)
        if channel is None:
            return None
        first = self._id(channel.messages[0].seq) if channel.messages else None
        last = self._id(channel.last) if channel.last else None
        return ChannelInfo(
            name, len(channel.messages), channel.bytes, first, last, channel.last_time or None, channel.ended
        )

    def names(self, prefix: str, after: str, limit: int) -> Steps[list[str]]:
        """Give at most `limit` names of channels that begin with `prefix` and sort behind `after`, sorted."""
        known = [*self._channels, *self._idle]
        best: list[str] = []
        for start in range(0, len(known), _NAMES_STEP):
            if start:
                yield
            part = known[start : start + _NAMES_STEP]
            best += [name for name in part if name > after and name.startswith(prefix)]
            best.sort()
            del best[limit:]
        return best

    # Where a subscription begins

    def _begin(
        self, topics: Sequence[str], since: Since, time: float
    ) -> Steps[tuple[int, tuple[Gap, ...], Sequence[Loss]]]:
        """Find the place to begin, the gaps to be told, and the losses that are known and not told."""
        match since:
            case Now():
                return self.head, (), [NO_LOSS] * len(topics)
            case Everything():
                return 0, (), (yield from self._losses_of(topics, 0))
            case Last(size):
                return (yield from self._begin_with_last(topics, size))
            case Age(seconds):
                return (yield from self._begin_with_time(topics, time - seconds))
            case Time(unix):
                return (yield from self._begin_with_time(topics, unix))
            case MessageId(epoch, seq):
                is_own = epoch == self.epoch
                if is_own and seq <= self.head:
                    losses = yield from self._losses_of(topics, seq)
                    return seq, self._gaps(topics, losses, since), losses
                losses = yield from self._losses_of(topics, 0)
                return 0, self._all_gone(topics, losses, since, "unknown" if is_own else "epoch"), losses

    def _begin_with_last(self, topics: Sequence[str], count: int) -> Steps[tuple[int, tuple[Gap, ...], Sequence[Loss]]]:
        # What is lost while messages are counted is news to whoever asked. Mostly they are counted in one step.
        steps = self._before_last(topics, count)
        try:
            next(steps)
        except StopIteration as counted:
            seq: int = counted.value
            return seq, (), (yield from self._losses_of(topics, seq))
        losses = list((yield from self._losses_of(topics, 0)))
        return (yield from self._before_last(topics, count)), (), losses

    def _before_last(self, topics: Sequence[str], count: int) -> Steps[int]:
        if any(map(is_pattern, topics)):
            return (yield from self._before_last_matching(self._query(topics).interest, count))
        head, looked_at = self.head, 0
        seqs: list[int] = []
        for channel in filter(None, map(self._record, topics)):
            seqs += [message.seq for message in islice(reversed(channel.messages), count)]
            looked_at += len(channel.messages)
            if looked_at > STEP:
                seqs, looked_at = heapq.nlargest(count, seqs), 0
                yield
        return min(heapq.nlargest(count, seqs), default=head + 1) - 1

    def _before_last_matching(self, interest: Interest, count: int) -> Steps[int]:
        before, oldest = self.head, self.head + 1
        while part := list(islice(self._timeline.backward(before), STEP)):
            for message in part:
                if interest.covers(message.channel):
                    oldest = message.seq
                    count -= 1
                    if not count:
                        return oldest - 1
            if len(part) < STEP:
                break
            before = part[-1].seq - 1
            yield
        return oldest - 1

    def _begin_with_time(
        self, topics: Sequence[str], unix: float
    ) -> Steps[tuple[int, tuple[Gap, ...], Sequence[Loss]]]:
        seq = yield from self._before_time(topics, unix)
        losses = yield from self._losses_of(topics, 0)
        gaps = tuple(
            Gap(topic, self._id(0), self._id(loss.seq), loss.reason)
            for topic, loss in zip(topics, losses, strict=True)
            if loss.seq and loss.time >= unix
        )
        return seq, gaps, losses

    def _before_time(self, topics: Sequence[str], unix: float) -> Steps[int]:
        covers = None
        channels: Iterable[Channel] = filter(None, map(self._record, topics))
        if any(map(is_pattern, topics)):
            covers, channels = self._query(topics).interest.covers, list(self._channels.values())
        seq, looked_at = self.head, 0
        for channel in channels:
            looked_at += 1
            if channel.last_time >= unix and (covers is None or covers(channel.name)):
                for message in reversed(channel.messages):
                    if message.time < unix:
                        break
                    seq = min(seq, message.seq - 1)
                    looked_at += 1
            if looked_at > STEP:
                looked_at = 0
                yield
        return seq

    # What is gone

    def _losses_of(self, topics: Sequence[str], seq: int) -> Steps[Sequence[Loss]]:
        """Find the newest loss of each topic; those that are not newer than `seq` may be left out."""
        if not any(map(is_pattern, topics)):
            return [self._loss_of(topic) for topic in topics]
        query = self._query(topics)
        yield from query.catch_up(self._losses, seq)
        by_pattern = iter(query.losses)
        return [next(by_pattern) if is_pattern(topic) else self._loss_of(topic) for topic in topics]

    def _loss_of(self, name: str) -> Loss:
        channel = self._record(name)
        return NO_LOSS if channel is None else Loss(channel.lost, channel.lost_time, channel.lost_reason)

    def _gaps(self, topics: Sequence[str], losses: Sequence[Loss], after: MessageId) -> tuple[Gap, ...]:
        gaps = []
        for topic, loss in zip(topics, losses, strict=True):
            lost, reason = (loss.seq, loss.reason) if loss.seq > after.seq else (after.seq, "")
            if self._unknown > lost and (is_pattern(topic) or self._record(topic) is None):
                lost, reason = self._unknown, "unknown"
            if reason:
                gaps.append(Gap(topic, str(after), self._id(lost), reason))
        return tuple(gaps)

    def _all_gone(
        self, topics: Sequence[str], losses: Sequence[Loss], after: MessageId, reason: str
    ) -> tuple[Gap, ...]:
        pairs = zip(topics, losses, strict=True)
        return tuple(Gap(topic, str(after), self._id(loss.seq), reason) for topic, loss in pairs)

    def _is_finished(self, topic: str, seq: int, returning: bool) -> bool:
        if is_pattern(topic):
            return False
        channel = self._channels.get(topic) or self._idle.get(topic)
        if channel is not None:
            return channel.is_finished(seq)
        return returning and topic in self._deleted

    # Finding channels and messages

    def _record(self, name: str) -> Channel | None:
        return self._channels.get(name) or self._idle.get(name) or self._deleted.get(name)

    def _query(self, topics: Sequence[str]) -> Query:
        """Give what is remembered of a query by pattern."""
        key = tuple(topics)
        query = self._queries.pop(key, None)
        if query is None:
            query = Query(key)
            self._queries_size += sum(map(len, key))
            while self._queries and self._queries_size > _QUERIES_SIZE:
                oldest = next(iter(self._queries))
                del self._queries[oldest]
                self._queries_size -= sum(map(len, oldest))
        self._queries[key] = query
        return query

    def _take(self, topics: Sequence[str], seq: int, count: int, size: int) -> Steps[tuple[list[Message], int]]:
        """Take what comes after sequence `seq`, and tell how far that is."""
        taken: list[Message] = []
        taken_bytes = 0
        if not any(map(is_pattern, topics)):
            for message in islice(self._merged(topics, seq), _PAGE_EFFORT):
                if len(taken) >= count or taken_bytes >= size:
                    return taken, seq
                seq = message.seq
                taken.append(message)
                taken_bytes += message.size
            return taken, seq if len(taken) == _PAGE_EFFORT else self.head
        covers = self._query(topics).interest.covers
        for _ in range(0, _PAGE_EFFORT, STEP):
            passed = 0
            for message in islice(self._timeline.after(seq), STEP):
                if len(taken) >= count or taken_bytes >= size:
                    return taken, seq
                seq = message.seq
                passed += 1
                if covers(message.channel):
                    taken.append(message)
                    taken_bytes += message.size
            if passed < STEP:
                break
            yield
        return taken, seq

    def _merged(self, topics: Sequence[str], seq: int) -> Iterator[Message]:
        """Go through the messages of some channels in id order."""
        histories = [channel.after(seq) for channel in filter(None, map(self._record, topics))]
        return heapq.merge(*histories, key=attrgetter("seq")) if len(histories) != 1 else histories[0]

    # Keeping and letting go

    def _accept(self, name: str, now: float) -> Channel:
        """Find a channel to publish to, or make it; `_place` has to follow."""
        known = self._channels.get(name) or self._idle.pop(name, None)
        if known is not None:
            return known
        if self.channel_count >= self.bounds.channels:
            if not self._idle and now >= self._due:
                self._expire(now, _EXPIRED_FOR_ROOM)
            self._forget_idle()
        channel = Channel(name)
        channel.lost, channel.lost_reason = self._unknown, "unknown"
        before = self._deleted.pop(name, None)
        if before is not None and before.lost > self._unknown:
            channel.lost, channel.lost_time, channel.lost_reason = before.lost, before.lost_time, before.lost_reason
            channel.lost_number, channel.lost_at = before.lost_number, before.lost_at
            self._losses.replace(channel)
        elif self._unknown:
            self._losses.add(channel, self.head)
        return channel

    def _forget_idle(self) -> None:
        if not self._idle:
            raise TooManyChannels(f"too many channels: all of the {self.bounds.channels} that are accepted are in use")
        self._know_no_more(self._idle.pop(next(iter(self._idle))))

    def _know_no_more(self, channel: Channel) -> None:
        """Forget what a channel lost, but that something may be lost of any that is not known."""
        self._unknown = max(self._unknown, channel.lost)
        self._losses.remove(channel.name)

    def _keep(self, channel: Channel, message: Message, ttl: float | None, now: float) -> None:
        bounds = self.bounds
        channel.append(message)
        self._timeline.append(message, now)
        self.bytes += message.size + _BOOKKEEPING
        if self._due == math.inf:
            self._due = now + bounds.age
        if ttl is not None and ttl < bounds.age:
            self._remember_deadline(now + ttl, message.seq)
        while channel.exceeds(bounds):
            self._drop_oldest(channel)

    def _remember_deadline(self, deadline: float, seq: int) -> None:
        heapq.heappush(self._deadlines, (deadline, seq))
        self._due = min(self._due, deadline)
        if len(self._deadlines) > 2 * len(self._timeline) + _WORTH_TIDYING:
            self._deadlines = [entry for entry in self._deadlines if self._timeline.get(entry[1]) is not None]
            heapq.heapify(self._deadlines)

    def _shrink(self, channel: Channel) -> None:
        """Take from the least recently used channel."""
        self._drop_oldest(channel)
        self._settle(channel)

    def _expire(self, now: float, most: int) -> bool:
        """Let go of at most `most` messages that are too old; return whether there may be more."""
        for old in self._timeline.before(now - self.bounds.age, most):
            self._lose(old)
            most -= 1
        while most > 0 and self._deadlines and self._deadlines[0][0] <= now:
            _, seq = heapq.heappop(self._deadlines)
            if (message := self._timeline.get(seq)) is not None:
                self._lose(message)
                most -= 1
        oldest = self._timeline.oldest
        due = math.inf if oldest is None else oldest + self.bounds.age
        self._due = min(due, self._deadlines[0][0]) if self._deadlines else due
        return most <= 0

    def _lose(self, message: Message) -> None:
        channel = self._channels[message.channel]
        channel.lose(message, "expired")
        if channel.lost == message.seq:
            self._losses.add(channel, self.head)
        self._count_out(message)
        self._settle(channel)

    def _drop_oldest(self, channel: Channel) -> None:
        message = channel.lose_oldest("evicted")
        self._count_out(message)
        if channel.lost == message.seq:
            self._losses.add(channel, self.head)

    def _count_out(self, message: Message) -> None:
        self._timeline.discard(message.seq)
        self.bytes -= message.size + _BOOKKEEPING

    def _settle(self, channel: Channel) -> None:
        if not channel.messages:
            self._place(channel)

    def _place(self, channel: Channel) -> None:
        """Put a channel at the recently used end of its kind."""
        name = channel.name
        if not channel.messages:
            self._channels.pop(name, None)
            self._idle[name] = channel
        elif name in self._channels:
            self._channels.move_to_end(name)
        else:
            self._channels[name] = channel

    def _id(self, seq: int) -> str:
        return f"{self.epoch}-{seq}"
