"""The tail: the newest part of the log in memory, so that a short absence needs no read of the file.

It answers only when it has the whole answer: no message newer than the cursor was lost in any channel, and none of the
topics has ended or was deleted. Otherwise the file is read.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, takewhile

from pushd.core.cursor import Last, MessageId, Now, Since
from pushd.core.message import Message
from pushd.core.names import Interest, is_pattern
from pushd.core.replay import Page, StartPosition

_MESSAGES = 10_000
_BYTES = 16 << 20
_WORTH_TIDYING = 1024
_PAGE_EFFORT = 2000
"""Messages of other channels that a page skips before it is returned partly filled: about 5 ms."""


class Tail:
    """The newest delivered messages, in id order."""

    def __init__(self, epoch: str, age: float, head: int, newest_loss: int, closed: Iterable[str]) -> None:
        """
        :param age: the retention, in seconds.
        :param head: the newest sequence.
        :param newest_loss: no message with a greater sequence was lost.
        :param closed: the channels that have ended or were deleted.
        """
        self.epoch = epoch
        self.head = head
        self._age = age
        self._newest_loss = newest_loss
        self._closed = set(closed)
        self._start = head
        """All messages newer than this sequence are here, unless they were lost."""
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._of_channel: dict[str, deque[Message]] = {}
        """The messages of each channel, except for the newest ones."""
        self._unsorted = 0
        """Number of newest messages that are not in `_of_channel` yet: they are sorted by the next query."""
        self._born: deque[tuple[float, int]] = deque()
        """Times of acceptance, each with the sequence of its newest message."""
        self._deadlines: list[tuple[float, int]] = []
        """A heap of the times at which messages with a TTL expire."""

    # Changes

    def add(self, message: Message, now: float, ttl: float | None) -> None:
        """Add the newest message, accepted at `now` in log time."""
        seq = self.head = message.seq
        if message.end:
            self._closed.add(message.channel)
            if message.is_mark:
                return
        elif self._closed:
            self._closed.discard(message.channel)
        self._messages.append(message)
        self._bytes += len(message.data)
        self._unsorted += 1
        if self._born and self._born[-1][0] == now:
            self._born[-1] = now, seq
        else:
            self._born.append((now, seq))
        if ttl is not None:
            self._expect_end(now + ttl, seq)
        while self._bytes > _BYTES or len(self._messages) > _MESSAGES:
            self._leave_out_oldest()

    def forget(self, channel: str) -> None:
        """Called when a channel was deleted."""
        self._closed.add(channel)

    def drop(self, channels: Iterable[str]) -> None:
        """Called when the records of channels were dropped."""
        self._closed.difference_update(channels)

    def lose(self, newest_loss: int) -> None:
        """Called when messages up to `newest_loss` may be lost."""
        self._newest_loss = max(self._newest_loss, newest_loss)

    # Queries

    def open(self, topics: Sequence[str], since: Since, now: float) -> StartPosition | None:
        """Return where a subscription begins, or None if the file has to be read."""
        if not self._closed.isdisjoint(topics):
            return None
        match since:
            case Now():
                seq = self.head
            case MessageId(self.epoch, seq) if self._knows(seq, now):
                pass
            case Last(count) if (before := self._before_last(topics, count, now)) is not None:
                seq = before
            case _:
                return None
        return StartPosition(MessageId(self.epoch, seq), (), needs_replay=seq < self.head, is_complete=False)

    def page(self, topics: Sequence[str], after: MessageId, count: int, size: int, now: float) -> Page | None:
        """Return the next page, or None if the file has to be read."""
        if after.epoch != self.epoch or not self._knows(after.seq, now) or not self._closed.isdisjoint(topics):
            return None
        covers = Interest(topics).covers
        taken: list[Message] = []
        taken_bytes = 0
        position = after.seq
        for effort, message in enumerate(self._after(topics, after.seq)):
            if len(taken) >= count or taken_bytes >= size or effort - len(taken) >= _PAGE_EFFORT:
                return Page(tuple(taken), (), MessageId(self.epoch, position), is_last=False)
            position = message.seq
            if covers(message.channel):
                taken.append(message)
                taken_bytes += message.size
        return Page(tuple(taken), (), MessageId(self.epoch, self.head), is_last=True)

    def _knows(self, seq: int, now: float) -> bool:
        """Return whether all messages newer than `seq` are here."""
        while self._deadlines and self._deadlines[0][0] <= now:
            self.lose(heapq.heappop(self._deadlines)[1])
        while self._born and self._born[0][0] + self._age <= now:
            self._leave_out_oldest()
        return max(self._start, self._newest_loss) <= seq <= self.head

    def _before_last(self, topics: Sequence[str], count: int, now: float) -> int | None:
        """Return where the newest `count` messages begin, if they are all here."""
        if count > len(self._messages):
            return None
        covers = Interest(topics).covers
        newest = (message.seq for message in self._newest_first(topics) if covers(message.channel))
        seqs = list(islice(newest, count))
        return seqs[-1] - 1 if len(seqs) == count and self._knows(seqs[-1] - 1, now) else None

    def _after(self, topics: Sequence[str], seq: int) -> Iterable[Message]:
        """Return the messages newer than `seq`, oldest first: those of the topics, or all."""
        return reversed(list(takewhile(lambda message: message.seq > seq, self._newest_first(topics))))

    def _newest_first(self, topics: Sequence[str]) -> Iterator[Message]:
        if any(map(is_pattern, topics)):
            return reversed(self._messages)
        self._sort()
        channels = (reversed(self._of_channel[topic]) for topic in topics if topic in self._of_channel)
        return heapq.merge(*channels, key=lambda message: message.seq, reverse=True)

    # Contents

    def _sort(self) -> None:
        for message in islice(self._messages, len(self._messages) - self._unsorted, None):
            self._of_channel.setdefault(message.channel, deque()).append(message)
        self._unsorted = 0

    def _expect_end(self, deadline: float, seq: int) -> None:
        heapq.heappush(self._deadlines, (deadline, seq))
        if len(self._deadlines) > 2 * len(self._messages) + _WORTH_TIDYING:
            self._deadlines = [entry for entry in self._deadlines if entry[1] > self._start]
            heapq.heapify(self._deadlines)

    def _leave_out_oldest(self) -> None:
        if self._unsorted == len(self._messages):
            self._unsorted -= 1
        else:
            channel = self._messages[0].channel
            self._of_channel[channel].popleft()
            if not self._of_channel[channel]:
                del self._of_channel[channel]
        oldest = self._messages.popleft()
        self._start = oldest.seq
        self._bytes -= len(oldest.data)
        if self._born[0][1] <= oldest.seq:
            self._born.popleft()
