"""Queries of the history in a file. The rules are those of `core.log_reader`, line by line where possible."""

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice, repeat

from pushd.backends.hook_outbox import QueuedEvent
from pushd.backends.sqlite.log_snapshot import LogSnapshot
from pushd.core.cursor import Age, Everything, Last, Latest, MessageId, Now, Since, Time
from pushd.core.message import Gap, Message
from pushd.core.names import Interest, is_pattern, matches
from pushd.core.replay import ChannelInfo, KeptMessages, Page, StartPosition, newest_upto
from pushd.core.timestamp import round_timestamp

_PAGE_SKIP_LIMIT = 20_000
"""Messages of other channels that a page skips before it is returned partly filled: about 30 ms."""

_Since = MessageId | Last | Age | Time | Everything | Now


class HistoryReader:
    """Answers queries from one snapshot."""

    def __init__(self, snapshot: LogSnapshot) -> None:
        self._snapshot = snapshot
        self.damaged: list[tuple[int, str]] = []
        """The sequences and channels of damaged messages, which are skipped."""

    def open(self, topics: Sequence[str], since: Since, time: float) -> StartPosition:
        """Return where a subscription of `topics` starts, and its gaps, in the order of the topics.

        :param time: the current time, in unix seconds.
        """
        self._snapshot.load_records(topics)
        if isinstance(since, Latest):
            return self._open_latest(topics)
        seq, gaps = self._start_sequence(topics, since, time)
        position = MessageId(self._snapshot.epoch, seq)
        returning = isinstance(since, MessageId)
        ended = sum(self._is_complete(topic, seq, returning) for topic in topics)
        behind = seq < self._snapshot.head or ended > 0
        finished = ended == len(topics) and not gaps
        known = self._gaps(topics, position) if behind else ()
        kept = () if returning else tuple(self._kept(gap, seq) for gap in known)
        return StartPosition(position, gaps, behind, finished, known, kept)

    def page(
        self, topics: Sequence[str], after: MessageId, count: int, size: int, latest_until: MessageId | None = None
    ) -> Page:
        """Return the next page; see `pushd.backends.interface.Backend.page`."""
        snapshot = self._snapshot
        snapshot.load_records(topics)
        covers = Interest(topics).covers
        upto = newest_upto(after, latest_until, snapshot.epoch)
        found: Iterator[tuple[int, str | None]]
        gaps: tuple[Gap, ...]
        if upto:
            seq, end, gaps = after.seq, upto, ()
            found = self._newest_after(topics, seq, upto)
        else:
            is_foreign = after.epoch != snapshot.epoch
            seq, end = 0 if is_foreign else after.seq, snapshot.head
            gaps = self._gaps_for_all(topics, after, "epoch") if is_foreign else self._gaps(topics, after)
            found = self._messages_after(topics, seq)
        taken: list[Message] = []
        taken_bytes = 0
        for skipped, (next_seq, channel) in enumerate(found):
            if len(taken) >= count or taken_bytes >= size or skipped >= _PAGE_SKIP_LIMIT:
                return Page(
                    tuple(taken), gaps + self._damage_gaps(topics, after), MessageId(snapshot.epoch, seq), False
                )
            seq = next_seq
            if channel is not None and covers(channel):
                message = snapshot.message(seq, channel)
                if message is None:
                    self.damaged.append((seq, channel))
                else:
                    taken.append(message)
                    taken_bytes += message.size
        ended = tuple(topic for topic in topics if self._is_complete(topic, end, returning=False))
        position = MessageId(snapshot.epoch, end)
        return Page(tuple(taken), gaps + self._damage_gaps(topics, after), position, True, ended)

    def info(self, name: str) -> ChannelInfo | None:
        """Return the state of a channel; None if it is unknown."""
        record = self._snapshot.record(name)
        if record is None or record.deleted:
            return None
        count, size = self._snapshot.message_totals(record)
        oldest = next(self._snapshot.sequences(record, 0), None)
        first = self._id(oldest) if oldest is not None else None
        last = self._id(record.last) if record.last else None
        return ChannelInfo(name, count, size, first, last, record.last_time or None, record.ended)

    def names(self, prefix: str, after: str, limit: int) -> list[str]:
        """Return at most `limit` names of channels that begin with `prefix` and sort after `after`, sorted."""
        return self._snapshot.names(prefix, after, limit)

    def is_url_remembered(self, digest: bytes, time: float) -> bool:
        """Return whether a signed URL was used, and its time is not over. `time`: unix seconds."""
        return self._snapshot.is_url_remembered(digest, time)

    def hook_events(self, hook: str, count: int, size: int) -> Sequence[QueuedEvent]:
        """Return the oldest events of a hook; see `HookOutbox.first`."""
        return self._snapshot.hook_events(hook, count, size)

    # Where a subscription starts

    def _open_latest(self, topics: Sequence[str]) -> StartPosition:
        """Return where a subscription starts that begins with the newest message of each channel."""
        epoch, head = self._snapshot.epoch, self._snapshot.head
        records = self._snapshot.records(topics)
        if records is None:
            seq = self._snapshot.latest(head).start(Interest(topics).covers)
        else:
            newest = filter(None, (self._snapshot.newest_upto(record, head) for record in records))
            seq = min(newest, default=head + 1) - 1
        ended = sum(self._is_complete(topic, seq, returning=False) for topic in topics)
        is_behind, until = seq < head or ended > 0, MessageId(epoch, head)
        return StartPosition(MessageId(epoch, seq), (), is_behind, ended == len(topics), latest_until=until)

    def _start_sequence(self, topics: Sequence[str], since: _Since, time: float) -> tuple[int, tuple[Gap, ...]]:
        epoch, head = self._snapshot.epoch, self._snapshot.head
        match since:
            case Now():
                return head, ()
            case Everything():
                return 0, ()
            case Last(size):
                return self._before_last(topics, size), ()
            case Age(seconds):
                return self._before_time(topics, round_timestamp(time - seconds))
            case Time(unix):
                return self._before_time(topics, round_timestamp(unix))
            case MessageId(other, _) if other != epoch:
                return 0, self._gaps_for_all(topics, since, "epoch")
            case MessageId(_, seq) if seq > head:
                return 0, self._gaps_for_all(topics, since, "unknown")
            case MessageId(_, seq):
                return seq, self._gaps(topics, since)

    def _before_last(self, topics: Sequence[str], count: int) -> int:
        newest = deque(islice(self._newest_first(topics), count), maxlen=1)
        return newest[0] - 1 if newest else self._snapshot.head

    def _before_time(self, topics: Sequence[str], unix: float) -> tuple[int, tuple[Gap, ...]]:
        boundary = self._snapshot.before_time(unix)
        firsts = self._firsts_after(topics, boundary) if boundary is not None else self._firsts_by_channel(topics, unix)
        seq = min((first - 1 for first in firsts), default=self._snapshot.head)
        losses = self._snapshot.newest_losses(topics, 0)
        gaps = tuple(
            Gap(topic, self._id(0), self._id(loss.seq), loss.reason)
            for topic in topics
            if (loss := losses.get(topic)) and loss.time >= unix
        )
        return seq, gaps

    def _firsts_after(self, topics: Sequence[str], seq: int) -> Iterator[int]:
        """Return the first sequence after `seq` of each channel; if there are many, a sequence before all of them."""
        records = self._snapshot.records(topics)
        if records is not None:
            for record in records:
                yield from islice(self._snapshot.sequences(record, seq), 1)
            return
        covers = Interest(topics).covers
        for skipped, (next_seq, channel) in enumerate(self._snapshot.all_sequences(seq)):
            if skipped >= _PAGE_SKIP_LIMIT or covers(channel):
                yield next_seq
                return

    def _firsts_by_channel(self, topics: Sequence[str], unix: float) -> Iterator[int]:
        """Return for each channel the first of its newest messages that all have a time of `unix` or later."""
        snapshot = self._snapshot
        for record in snapshot.all_records(topics):
            yield from islice(snapshot.sequences(record, snapshot.newest_before(record, unix)), 1)

    # Losses

    def _gaps(self, topics: Sequence[str], after: MessageId) -> tuple[Gap, ...]:
        gaps = []
        unknown = self._snapshot.unknown
        losses = self._snapshot.newest_losses(topics, after.seq)
        for topic in topics:
            loss = losses.get(topic)
            lost, reason = (loss.seq, loss.reason) if loss else (after.seq, "")
            if unknown > lost and (is_pattern(topic) or self._snapshot.record(topic) is None):
                lost, reason = unknown, "unknown"
            if reason:
                gaps.append(Gap(topic, str(after), self._id(lost), reason))
        return tuple(gaps)

    def _gaps_for_all(self, topics: Sequence[str], after: MessageId, reason: str) -> tuple[Gap, ...]:
        newest = self._snapshot.newest_losses(topics, 0)
        losses = ((topic, newest.get(topic)) for topic in topics)
        return tuple(Gap(topic, str(after), self._id(loss.seq if loss else 0), reason) for topic, loss in losses)

    def _kept(self, gap: Gap, seq: int) -> KeptMessages:
        """Count the messages newer than `seq` that are kept beside a known gap; see `StartPosition`."""
        upto = int(gap.end.rpartition("-")[2])
        records = self._snapshot.records((gap.topic,))
        if records is not None:
            return KeptMessages(sum(self._snapshot.count(record, seq, upto) for record in records), upto)
        counts = self._snapshot.counts(seq, upto)
        return KeptMessages(sum(count for name, count in counts if matches(gap.topic, name)), upto)

    def _damage_gaps(self, topics: Sequence[str], after: MessageId) -> tuple[Gap, ...]:
        """Return the gaps for damaged messages."""
        return tuple(
            Gap(topic, str(after), self._id(seq), "unknown")
            for seq, channel in self.damaged
            for topic in topics
            if matches(topic, channel)
        )

    def _is_complete(self, topic: str, seq: int, returning: bool) -> bool:
        record = None if is_pattern(topic) else self._snapshot.record(topic)
        if record is None:
            return False
        if record.deleted:
            return returning and seq < record.deleted
        if not record.ended:
            return False
        newest = next(self._snapshot.sequences(record, 0, backward=True), None)
        return (self._snapshot.loss_of(record).seq if newest is None else newest) <= seq

    # Finding messages

    def _newest_after(self, topics: Sequence[str], seq: int, upto: int) -> Iterator[tuple[int, str | None]]:
        """Iterate over the newest messages up to `upto` that are newer than `seq`; see `LatestScan.after`."""
        records = self._snapshot.records(topics)
        if records is None:
            return self._snapshot.latest(upto).after(seq, Interest(topics).covers)
        newest = ((self._snapshot.newest_upto(record, upto), record.name) for record in records)
        return iter(sorted(each for each in newest if each[0] > seq))

    def _messages_after(self, topics: Sequence[str], seq: int) -> Iterator[tuple[int, str]]:
        """Iterate over the messages newer than `seq`, oldest first: those of the topics, or all."""
        records = self._snapshot.records(topics)
        if records is None:
            return self._snapshot.all_sequences(seq)
        return heapq.merge(*(zip(self._snapshot.sequences(record, seq), repeat(record.name)) for record in records))

    def _newest_first(self, topics: Sequence[str]) -> Iterator[int]:
        records = self._snapshot.records(topics)
        if records is None:
            covers = Interest(topics).covers
            return (seq for seq, channel in self._snapshot.all_sequences(0, backward=True) if covers(channel))
        return heapq.merge(*(self._snapshot.sequences(record, 0, backward=True) for record in records), reverse=True)

    def _id(self, seq: int) -> str:
        return f"{self._snapshot.epoch}-{seq}"
