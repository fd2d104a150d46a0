"""The log: the one sequence over all channels, their histories, and the answers to cursors.

Pure and synchronous. `now` is monotonic seconds and rules what expires; `time` is unix seconds and is only
written down.
"""

import heapq
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from pushd.core.cursor import Age, Everything, Last, MessageId, Now, Since, Time
from pushd.core.errors import TooManyChannels
from pushd.core.history import Bounds, Channel
from pushd.core.message import Draft, Gap, Message
from pushd.core.names import Interest, is_pattern
from pushd.core.replay import ChannelInfo, Opening, Page
from pushd.core.timeline import Timeline

_PAGE_EFFORT = 20_000
"""How many foreign messages a page passes over before it is handed out half full: about 5 ms."""
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
        self._channels: dict[str, Channel] = {}
        """Those with messages, the least recently used first."""
        self._idle: dict[str, Channel] = {}
        """Those that have none any more; what they lost is still known."""
        self._deleted: dict[str, Channel] = {}
        """Those that were forgotten on demand, so that a cursor of before can be answered truly."""
        self._timeline = Timeline()
        self._deadlines: list[tuple[float, int]] = []
        """A heap of the messages with a time to live of their own."""
        self._due = math.inf
        """Before then nothing is too old."""
        self._idle_lost = 0
        """No channel without messages lost anything newer."""
        self._unknown = 0
        """No channel of which nothing is known any more had anything newer."""

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
            self.expire(now)
        channel = self._take(draft.channel)
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
            draft.form,
            draft.event,
            draft.end,
        )
        channel.used = seq
        channel.ended = draft.end
        if not message.is_mark:
            self._keep(channel, message, draft.ttl, now)
        self._place(channel)
        while self.bytes > self.bounds.total_bytes:
            self._shrink(next(iter(self._channels.values())))
        return message

    def expire(self, now: float) -> None:
        """Let go of what is too old. Costs nothing where nothing is."""
        for old in self._timeline.before(now - self.bounds.age):
            self._lose(old)
        while self._deadlines and self._deadlines[0][0] <= now:
            _, seq = heapq.heappop(self._deadlines)
            if (message := self._timeline.get(seq)) is not None:
                self._lose(message)
        oldest = self._timeline.oldest
        due = math.inf if oldest is None else oldest + self.bounds.age
        self._due = min(due, self._deadlines[0][0]) if self._deadlines else due

    def forget(self, name: str) -> bool:
        """Forget a channel with all its messages; tell whether it was known."""
        channel = self._channels.pop(name, None) or self._idle.pop(name, None)
        if channel is None:
            return False
        while channel.messages:
            self._drop_oldest(channel)
        channel.lost = max(channel.lost, channel.last)
        self._deleted[name] = channel
        self._idle_lost = max(self._idle_lost, channel.lost)
        if len(self._deleted) > self.bounds.channels:
            self._unknown = max(self._unknown, self._deleted.pop(next(iter(self._deleted))).lost)
        return True

    def open(self, topics: Sequence[str], since: Since, time: float, now: float) -> Opening:
        """Tell where a subscription of `topics` begins and what is gone already, in the order of the topics."""
        self.expire(now)
        seq, gaps = self._begin(topics, since, time)
        position = MessageId(self.epoch, seq)
        returning = isinstance(since, MessageId)
        ended = sum(self._is_finished(topic, seq, returning) for topic in topics)
        behind = seq < self.head or ended > 0
        finished = ended == len(topics) and not gaps
        return Opening(position, gaps, behind, finished, self._gaps(topics, position) if behind else ())

    def page(self, topics: Sequence[str], after: MessageId, count: int, size: int, now: float) -> Page:
        """Read on: at most `count` messages, and no further one once they have `size` bytes."""
        self.expire(now)
        if after.epoch != self.epoch:
            seq, gaps = 0, self._all_gone(topics, after, "epoch")
        else:
            seq, gaps = after.seq, self._gaps(topics, after)
        taken: list[Message] = []
        taken_bytes = 0
        interest = Interest(topics)
        for effort, message in enumerate(self._source(topics, seq)):
            if len(taken) >= count or taken_bytes >= size or effort >= _PAGE_EFFORT:
                return Page(tuple(taken), gaps, MessageId(self.epoch, seq), complete=False)
            seq = message.seq
            if interest.covers(message.channel):
                taken.append(message)
                taken_bytes += message.size
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

    def names(self, prefix: str, after: str, limit: int) -> list[str]:
        """Give at most `limit` names of channels that begin with `prefix` and sort behind `after`, sorted."""
        known = chain(self._channels, self._idle)
        return heapq.nsmallest(limit, (name for name in known if name > after and name.startswith(prefix)))

    # Where a subscription begins

    def _begin(self, topics: Sequence[str], since: Since, time: float) -> tuple[int, tuple[Gap, ...]]:
        match since:
            case Now():
                return self.head, ()
            case Everything():
                return 0, ()
            case Last(size):
                return self._before_last(topics, size), ()
            case Age(seconds):
                return self._before_time(topics, time - seconds)
            case Time(unix):
                return self._before_time(topics, unix)
            case MessageId(epoch, _) if epoch != self.epoch:
                return 0, self._all_gone(topics, since, "epoch")
            case MessageId(_, seq) if seq > self.head:
                return 0, self._all_gone(topics, since, "unknown")
            case MessageId(_, seq):
                return seq, self._gaps(topics, since)

    def _before_last(self, topics: Sequence[str], count: int) -> int:
        interest = Interest(topics)
        if interest.is_exact:
            newest = (islice(reversed(channel.messages), count) for channel in self._records(topics, 0))
            seqs = heapq.nlargest(count, (message.seq for message in chain.from_iterable(newest)))
        else:
            wanted = (message.seq for message in self._timeline.backward() if interest.covers(message.channel))
            seqs = list(islice(wanted, count))
        return seqs[-1] - 1 if seqs else self.head

    def _before_time(self, topics: Sequence[str], unix: float) -> tuple[int, tuple[Gap, ...]]:
        seq = self.head
        for channel in self._records(topics, 0):
            for message in reversed(channel.messages):
                if message.time < unix:
                    break
                seq = min(seq, message.seq - 1)
        gaps = tuple(
            Gap(topic, self._id(0), self._id(loss.lost), loss.lost_reason)
            for topic in topics
            if (loss := self._latest_loss(topic, 0)) and loss.lost_time >= unix
        )
        return seq, gaps

    # What is gone

    def _gaps(self, topics: Sequence[str], after: MessageId) -> tuple[Gap, ...]:
        gaps = []
        for topic in topics:
            loss = self._latest_loss(topic, after.seq)
            lost, reason = (loss.lost, loss.lost_reason) if loss else (after.seq, "")
            if self._unknown > lost and (is_pattern(topic) or self._record(topic) is None):
                lost, reason = self._unknown, "unknown"
            if reason:
                gaps.append(Gap(topic, str(after), self._id(lost), reason))
        return tuple(gaps)

    def _all_gone(self, topics: Sequence[str], after: MessageId, reason: str) -> tuple[Gap, ...]:
        losses = ((topic, self._latest_loss(topic, 0)) for topic in topics)
        return tuple(Gap(topic, str(after), self._id(loss.lost if loss else 0), reason) for topic, loss in losses)

    def _latest_loss(self, topic: str, seq: int) -> Channel | None:
        lossy = [channel for channel in self._records((topic,), seq) if channel.lost_after(seq)]
        return max(lossy, key=lambda channel: channel.lost, default=None)

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

    def _records(self, topics: Sequence[str], newer_than: int) -> Iterator[Channel]:
        """Find the channels of `topics`; those with nothing newer may be left out."""
        interest = Interest(topics)
        if interest.is_exact:
            yield from filter(None, map(self._record, topics))
            return
        for channel in reversed(self._channels.values()):
            if channel.used <= newer_than:
                break
            if interest.covers(channel.name):
                yield channel
        if self._idle_lost > newer_than:
            rest = chain(self._idle.values(), self._deleted.values())
            yield from (channel for channel in rest if interest.covers(channel.name))

    def _source(self, topics: Sequence[str], seq: int) -> Iterable[Message]:
        if any(map(is_pattern, topics)):
            return self._timeline.after(seq)
        histories = (channel.after(seq) for channel in self._records(topics, seq))
        return heapq.merge(*histories, key=lambda message: message.seq)

    # Keeping and letting go

    def _take(self, name: str) -> Channel:
        known = self._channels.pop(name, None) or self._idle.pop(name, None)
        if known is not None:
            return known
        if self.channel_count >= self.bounds.channels:
            self._forget_idle()
        channel = Channel(name)
        channel.lost, channel.lost_reason = self._unknown, "unknown"
        before = self._deleted.pop(name, None)
        if before is not None and before.lost > self._unknown:
            channel.lost, channel.lost_time, channel.lost_reason = before.lost, before.lost_time, before.lost_reason
        return channel

    def _forget_idle(self) -> None:
        if not self._idle:
            raise TooManyChannels(f"all of the {self.bounds.channels} channels that may be known are in use")
        oldest = self._idle.pop(next(iter(self._idle)))
        self._unknown = max(self._unknown, oldest.lost)

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

    def _lose(self, message: Message) -> None:
        channel = self._channels[message.channel]
        channel.lose(message, "expired")
        self._count_out(message)
        self._settle(channel)

    def _drop_oldest(self, channel: Channel) -> None:
        self._count_out(channel.lose_oldest("evicted"))

    def _count_out(self, message: Message) -> None:
        self._timeline.discard(message.seq)
        self.bytes -= message.size + _BOOKKEEPING

    def _settle(self, channel: Channel) -> None:
        if not channel.messages:
            del self._channels[channel.name]
            self._place(channel)

    def _place(self, channel: Channel) -> None:
        """Put a channel at the recently used end of its kind."""
        if channel.messages:
            self._channels[channel.name] = channel
        else:
            self._idle[channel.name] = channel
            self._idle_lost = max(self._idle_lost, channel.lost)

    def _id(self, seq: int) -> str:
        return f"{self.epoch}-{seq}"
