"""Answers to cursors from a log: where a subscription starts, the pages of its replay, and gaps.

Operations that may take long are done in steps, between which the log may change. A result is as of its last step,
except for expiry, which is as of the first.
"""

import heapq
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from operator import attrgetter

from pushd.core.cursor import Age, Everything, Last, Latest, MessageId, Now, Since, Time
from pushd.core.history import Channel
from pushd.core.latest import ReadLimits, before_newest, newest_of, scan_newest
from pushd.core.log import Log
from pushd.core.losses import NO_LOSS, LossQuery, NewestLoss
from pushd.core.message import Gap, Message
from pushd.core.names import Interest, is_pattern, matches
from pushd.core.replay import ChannelInfo, KeptMessages, Page, StartPosition, newest_upto
from pushd.core.steps import STEP, Steps
from pushd.core.timestamp import round_timestamp

_PAGE_EFFORT = 20_000
"""The most messages that are examined for one page, which may then be returned half full: about 5 ms."""
_NAMES_STEP = 4096
"""Channel names that are examined in one step."""
_QUERIES_SIZE = 512 << 10
"""Characters of the topics of all cached queries, each worth up to 100 bytes of memory."""

_Since = MessageId | Last | Age | Time | Everything | Now
_Start = tuple[int, tuple[Gap, ...], Sequence[NewestLoss]]
"""The sequence at which a subscription starts, the gaps to report, and the losses that need no report."""


class LogReader:
    """Answers cursors and queries from a log. See `Log` for `time` and `now`."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._queries: OrderedDict[tuple[str, ...], LossQuery] = OrderedDict()
        """The recent queries with patterns, by topics, the least recently used first."""
        self._queries_size = 0

    def open(self, topics: Sequence[str], since: Since, time: float, now: float) -> Steps[StartPosition]:
        """Return where a subscription of `topics` starts, and its gaps, in the order of the topics."""
        log = self._log
        if now >= log.due:
            yield from log.expire(now)
        if isinstance(since, Latest):
            return (yield from self._open_latest(topics))
        seq, gaps, known = yield from self._start(topics, since, time)
        position = MessageId(log.epoch, seq)
        is_return = isinstance(since, MessageId)
        ended = sum(self._is_finished(topic, seq, is_return) for topic in topics)
        needs_replay = seq < log.head or ended > 0
        is_complete = ended == len(topics) and not gaps
        known_gaps = self._gaps(topics, known, position) if needs_replay else ()
        kept = () if is_return else (yield from self._kept(known_gaps, seq))
        return StartPosition(position, gaps, needs_replay, is_complete, known_gaps, kept)

    def page(
        self,
        topics: Sequence[str],
        after: MessageId,
        count: int,
        size: int,
        now: float,
        latest_until: MessageId | None = None,
    ) -> Steps[Page]:
        """Return the next page of a replay.

        :param count: the most messages.
        :param size: bytes of messages after which no further one is added.
        :param latest_until: see `StartPosition`.
        """
        log = self._log
        if now >= log.due:
            yield from log.expire(now)
        upto = newest_upto(after, latest_until, log.epoch)
        if upto:
            return (yield from self._page_of_latest(topics, after.seq, upto, ReadLimits(count, size, _PAGE_EFFORT)))
        is_foreign = after.epoch != log.epoch
        start = 0 if is_foreign else after.seq
        losses_before = log.losses.count
        messages, seq = yield from self._read(topics, start, count, size)
        losses = yield from self._losses_of(topics, start)
        if log.losses.count != losses_before:  # a message that was removed meanwhile is part of a gap
            messages = self._still_kept(messages)
        gaps = self._all_lost(topics, losses, after, "epoch") if is_foreign else self._gaps(topics, losses, after)
        if next(log.timeline.after(seq), None) is not None:
            return Page(tuple(messages), gaps, MessageId(log.epoch, seq), is_last=False)
        ended = tuple(topic for topic in topics if self._is_finished(topic, log.head, is_return=False))
        return Page(tuple(messages), gaps, MessageId(log.epoch, log.head), True, ended)

    def info(self, name: str) -> ChannelInfo | None:
        """Return the state of a channel; None if it is unknown."""
        channel = self._log.channels.get(name)
        if channel is None:
            return None
        first = self._id(channel.messages[0].seq) if channel.messages else None
        last = self._id(channel.last) if channel.last else None
        return ChannelInfo(
            name, len(channel.messages), channel.bytes, first, last, channel.last_time or None, channel.ended
        )

    def names(self, prefix: str, after: str, limit: int) -> Steps[list[str]]:
        """Return at most `limit` names of channels that begin with `prefix` and sort after `after`, sorted."""
        known = self._log.channels.names()
        best: list[str] = []
        for start in range(0, len(known), _NAMES_STEP):
            if start:
                yield
            best += [name for name in known[start : start + _NAMES_STEP] if name > after and name.startswith(prefix)]
            best.sort()
            del best[limit:]
        return best

    # The newest message of each channel

    def _open_latest(self, topics: Sequence[str]) -> Steps[StartPosition]:
        log, head = self._log, self._log.head
        channels = self._histories(topics)
        if any(map(is_pattern, topics)):
            channels = log.channels.active()
        seq = yield from before_newest(list(channels), self._query(topics).interest.covers, head)
        ended = sum(self._is_finished(topic, seq, is_return=False) for topic in topics)
        return StartPosition(
            MessageId(log.epoch, seq),
            gaps=(),
            needs_replay=seq < log.head or ended > 0,
            is_complete=ended == len(topics),
            latest_until=MessageId(log.epoch, head),
        )

    def _page_of_latest(self, topics: Sequence[str], after: int, upto: int, limits: ReadLimits) -> Steps[Page]:
        """Return a page with the newest message of each channel. It has no gaps: older messages are not missing."""
        log = self._log
        losses_before = log.losses.count
        if any(map(is_pattern, topics)):
            messages, seq = yield from scan_newest(log, self._query(topics).interest.covers, after, upto, limits)
        else:
            messages, seq = newest_of(self._histories(topics), after, upto, limits)
        if log.losses.count != losses_before:
            messages = self._still_kept(messages)
        is_last = seq >= upto
        ended = tuple(topic for topic in topics if self._is_finished(topic, seq, is_return=False)) if is_last else ()
        return Page(tuple(messages), (), MessageId(log.epoch, seq), is_last, ended)

    def _still_kept(self, messages: Sequence[Message]) -> list[Message]:
        return [message for message in messages if self._log.timeline.get(message.seq) is not None]

    # The start of a subscription

    def _start(self, topics: Sequence[str], since: _Since, time: float) -> Steps[_Start]:
        log = self._log
        match since:
            case Now():
                return log.head, (), [NO_LOSS] * len(topics)
            case Everything():
                return 0, (), (yield from self._losses_of(topics, 0))
            case Last(size):
                return (yield from self._start_with_last(topics, size))
            case Age(seconds):
                return (yield from self._start_with_time(topics, round_timestamp(time - seconds)))
            case Time(unix):
                return (yield from self._start_with_time(topics, round_timestamp(unix)))
            case MessageId(epoch, seq):
                is_own = epoch == log.epoch
                if is_own and seq <= log.head:
                    losses = yield from self._losses_of(topics, seq)
                    return seq, self._gaps(topics, losses, since), losses
                losses = yield from self._losses_of(topics, 0)
                return 0, self._all_lost(topics, losses, since, "unknown" if is_own else "epoch"), losses

    def _start_with_last(self, topics: Sequence[str], count: int) -> Steps[_Start]:
        # A message that is lost while messages are counted has to be reported. Usually one step is enough to count.
        steps = self._before_last(topics, count)
        try:
            next(steps)
        except StopIteration as counted:
            seq: int = counted.value
            return seq, (), (yield from self._losses_of(topics, seq))
        losses = list((yield from self._losses_of(topics, 0)))
        return (yield from self._before_last(topics, count)), (), losses

    def _before_last(self, topics: Sequence[str], count: int) -> Steps[int]:
        """Return the sequence before the newest `count` messages of some topics."""
        if any(map(is_pattern, topics)):
            return (yield from self._before_last_matching(self._query(topics).interest, count))
        head, examined = self._log.head, 0
        seqs: list[int] = []
        for channel in self._histories(topics):
            seqs += [message.seq for message in islice(reversed(channel.messages), count)]
            examined += len(channel.messages)
            if examined > STEP:
                seqs, examined = heapq.nlargest(count, seqs), 0
                yield
        return min(heapq.nlargest(count, seqs), default=head + 1) - 1

    def _before_last_matching(self, interest: Interest, count: int) -> Steps[int]:
        before, oldest = self._log.head, self._log.head + 1
        while messages := list(islice(self._log.timeline.backward(before), STEP)):
            for message in messages:
                if interest.covers(message.channel):
                    oldest = message.seq
                    count -= 1
                    if not count:
                        return oldest - 1
            if len(messages) < STEP:
                break
            before = messages[-1].seq - 1
            yield
        return oldest - 1

    def _start_with_time(self, topics: Sequence[str], unix: float) -> Steps[_Start]:
        seq = yield from self._before_time(topics, unix)
        losses = yield from self._losses_of(topics, 0)
        gaps = tuple(
            Gap(topic, self._id(0), self._id(loss.seq), loss.reason)
            for topic, loss in zip(topics, losses, strict=True)
            if loss.seq and loss.time >= unix
        )
        return seq, gaps, losses

    def _before_time(self, topics: Sequence[str], unix: float) -> Steps[int]:
        """Return the sequence before the messages of some topics that were accepted at `unix` seconds or later."""
        covers = None
        channels: Iterable[Channel] = self._histories(topics)
        if any(map(is_pattern, topics)):
            covers, channels = self._query(topics).interest.covers, self._log.channels.active()
        seq, examined = self._log.head, 0
        for channel in channels:
            examined += 1
            if channel.last_time >= unix and (covers is None or covers(channel.name)):
                for message in reversed(channel.messages):
                    if message.time < unix:
                        break
                    seq = min(seq, message.seq - 1)
                    examined += 1
            if examined > STEP:
                examined = 0
                yield
        return seq

    # Gaps and ends

    def _losses_of(self, topics: Sequence[str], seq: int) -> Steps[Sequence[NewestLoss]]:
        """Return the newest loss of each topic. Losses up to sequence `seq` may be omitted."""
        if not any(map(is_pattern, topics)):
            return [self._loss_of(topic) for topic in topics]
        query = self._query(topics)
        yield from query.update(self._log.losses, seq)
        by_pattern = iter(query.losses)
        return [next(by_pattern) if is_pattern(topic) else self._loss_of(topic) for topic in topics]

    def _loss_of(self, name: str) -> NewestLoss:
        channel = self._log.channels.get_any(name)
        return NO_LOSS if channel is None else NewestLoss(channel.lost, channel.lost_time, channel.lost_reason)

    def _gaps(self, topics: Sequence[str], losses: Sequence[NewestLoss], after: MessageId) -> tuple[Gap, ...]:
        channels = self._log.channels
        gaps = []
        for topic, loss in zip(topics, losses, strict=True):
            lost, reason = (loss.seq, loss.reason) if loss.seq > after.seq else (after.seq, "")
            # A loss that was found before its channel was forgotten is unknown, too.
            is_newer = channels.forgotten > after.seq and channels.forgotten >= lost
            if is_newer and (is_pattern(topic) or channels.get_any(topic) is None):
                lost, reason = channels.forgotten, "unknown"
            if reason:
                gaps.append(Gap(topic, str(after), self._id(lost), reason))
        return tuple(gaps)

    def _all_lost(
        self, topics: Sequence[str], losses: Sequence[NewestLoss], after: MessageId, reason: str
    ) -> tuple[Gap, ...]:
        """Return one gap per topic, for a cursor of which nothing is known."""
        pairs = zip(topics, losses, strict=True)
        return tuple(Gap(topic, str(after), self._id(loss.seq), reason) for topic, loss in pairs)

    def _kept(self, known_gaps: Sequence[Gap], seq: int) -> Steps[tuple[KeptMessages, ...]]:
        """Count the messages newer than `seq` that are kept beside known gaps; see `StartPosition`."""
        ends = [int(gap.end.rpartition("-")[2]) for gap in known_gaps]
        counts = dict.fromkeys((gap.topic for gap in known_gaps), 0)
        patterns = [gap.topic for gap in known_gaps if is_pattern(gap.topic)]
        if patterns:
            yield from self._count_matching(patterns, seq, dict(zip(counts, ends, strict=True)), counts)
        for gap, end in zip(known_gaps, ends, strict=True):
            channel = self._log.channels.get_any(gap.topic)
            if channel is not None and not is_pattern(gap.topic):
                counts[gap.topic] = channel.count(seq, end)
        return tuple(KeptMessages(counts[gap.topic], end) for gap, end in zip(known_gaps, ends, strict=True))

    def _count_matching(
        self, patterns: Sequence[str], seq: int, ends: Mapping[str, int], counts: dict[str, int]
    ) -> Steps[None]:
        """Add the messages newer than `seq`, up to the end of each pattern, to `counts`."""
        newest = max(ends[pattern] for pattern in patterns)
        matching: dict[str, list[str]] = {}
        while seq < newest:
            before = seq
            for message in islice(self._log.timeline.after(seq), STEP):
                seq = message.seq
                if seq > newest:
                    return
                name = message.channel
                if name not in matching:
                    matching[name] = [pattern for pattern in patterns if matches(pattern, name)]
                for pattern in matching[name]:
                    counts[pattern] += seq <= ends[pattern]
            if seq == before:
                return
            yield

    def _is_finished(self, topic: str, seq: int, is_return: bool) -> bool:
        """Return whether a topic has ended and has no message newer than `seq`.

        :param is_return: whether the subscriber has a cursor, for which a channel that was deleted later has ended.
        """
        if is_pattern(topic):
            return False
        channel = self._log.channels.get(topic)
        if channel is not None:
            return channel.is_finished(seq)
        return is_return and seq < self._log.channels.deleted_at(topic)

    # Messages

    def _read(self, topics: Sequence[str], seq: int, count: int, size: int) -> Steps[tuple[list[Message], int]]:
        """Return messages newer than `seq`, and the sequence up to which they are complete."""
        messages: list[Message] = []
        total_size = 0
        if not any(map(is_pattern, topics)):
            for message in islice(self._merged(topics, seq), _PAGE_EFFORT):
                if len(messages) >= count or total_size >= size:
                    return messages, seq
                seq = message.seq
                messages.append(message)
                total_size += message.size
            return messages, seq if len(messages) == _PAGE_EFFORT else self._log.head
        covers = self._query(topics).interest.covers
        for _ in range(0, _PAGE_EFFORT, STEP):
            examined = 0
            for message in islice(self._log.timeline.after(seq), STEP):
                if len(messages) >= count or total_size >= size:
                    return messages, seq
                seq = message.seq
                examined += 1
                if covers(message.channel):
                    messages.append(message)
                    total_size += message.size
            if examined < STEP:
                break
            yield
        return messages, seq

    def _merged(self, topics: Sequence[str], seq: int) -> Iterator[Message]:
        """Iterate over the messages of some channels that are newer than `seq`, in id order."""
        histories = [channel.after(seq) for channel in self._histories(topics)]
        return heapq.merge(*histories, key=attrgetter("seq")) if len(histories) != 1 else histories[0]

    def _histories(self, names: Sequence[str]) -> Iterable[Channel]:
        return filter(None, map(self._log.channels.get_any, names))

    def _query(self, topics: Sequence[str]) -> LossQuery:
        """Return the cached query of some topics, or a new one."""
        key = tuple(topics)
        query = self._queries.pop(key, None)
        if query is None:
            query = LossQuery(key)
            self._queries_size += sum(map(len, key))
            while self._queries and self._queries_size > _QUERIES_SIZE:
                oldest = next(iter(self._queries))
                del self._queries[oldest]
                self._queries_size -= sum(map(len, oldest))
        self._queries[key] = query
        return query

    def _id(self, seq: int) -> str:
        return f"{self._log.epoch}-{seq}"
