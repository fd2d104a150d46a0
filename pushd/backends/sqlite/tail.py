"""The tail: the newest messages of the log in memory, so that clients that reconnect soon need no read of the file.

It answers a request only if it holds everything that the answer needs: no channel lost anything newer than the cursor,
and none of the topics has ended or was deleted. All other requests read the file.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, takewhile

from pushd.core.cursor import Last, MessageId, Now, Since
from pushd.core.message import Message
from pushd.core.names import Interest, is_pattern
from pushd.core.replay import Page, StartPosition

_MAX_MESSAGES = 10_000
_MAX_BYTES = 16 << 20
_HEAP_SLACK = 1024
"""Deadlines of evicted messages that may stay in the heap, beside two for each message."""
_PAGE_SKIP_LIMIT = 2000
"""Messages of other channels that a page skips before it is returned partly filled: about 5 ms."""


class Tail:
    """The newest delivered messages, in id order."""

    def __init__(self, epoch: str, age: float, head: int, newest_loss: int, closed: Iterable[str]) -> None:
        """
        :param age: the retention of messages, in seconds.
        :param head: the newest sequence.
        :param newest_loss: the newest sequence that any channel lost.
        :param closed: the names of channels that have ended or were deleted.
        """
        self.epoch = epoch
        self.head = head
        self._age = age
        self._newest_loss = newest_loss
        self._closed = set(closed)
        self._start = head
        """All kept messages newer than this sequence are here."""
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._of_channel: dict[str, deque[Message]] = {}
        """Messages by channel, oldest first, except the newest `_unsorted` ones."""
        self._unsorted = 0
        """The number of newest messages not yet in `_of_channel`, which is only filled when it is needed."""
        self._born: deque[tuple[float, int]] = deque()
        """Times of acceptance in seconds of log time, each with the newest sequence accepted at that time."""
        self._deadlines: list[tuple[float, int]] = []
        """A heap of the deadlines and sequences of messages with a time to live."""

    # Changes

    def add(self, message: Message, now: float, ttl: float | None) -> None:
        """Add the newest message.

        :param now: when it was accepted, in seconds of log time.
        :param ttl: its time to live, in seconds.
        """
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
            self._add_deadline(now + ttl, seq)
        while self._bytes > _MAX_BYTES or len(self._messages) > _MAX_MESSAGES:
            self._evict_oldest()

    def delete(self, channel: str, seq: int) -> None:
        """Called when a channel was deleted, with the sequence of the deletion."""
        self.head = seq
        self._closed.add(channel)

    def drop_channels(self, channels: Iterable[str]) -> None:
        """Called when the records of channels were dropped."""
        self._closed.difference_update(channels)

    def raise_newest_loss(self, newest_loss: int) -> None:
        """Called when messages up to `newest_loss` may be lost."""
        self._newest_loss = max(self._newest_loss, newest_loss)

    def clear(self) -> None:
        """Discard all messages: the rules of retention have changed."""
        self._start = self.head
        self._messages.clear()
        self._bytes = self._unsorted = 0
        self._of_channel.clear()
        self._born.clear()
        self._deadlines.clear()

    # Requests

    def open(self, topics: Sequence[str], since: Since, now: float) -> StartPosition | None:
        """Return where a subscription starts; None if the file must be read."""
        if not self._closed.isdisjoint(topics):
            return None
        match since:
            case Now():
                seq = self.head
            case MessageId(self.epoch, seq) if self._is_complete_after(seq, now):
                pass
            case Last(count) if (before := self._before_last(topics, count, now)) is not None:
                seq = before
            case _:
                return None
        return StartPosition(MessageId(self.epoch, seq), (), needs_replay=seq < self.head, is_complete=False)

    def page(self, topics: Sequence[str], after: MessageId, count: int, size: int, now: float) -> Page | None:
        """Return the next page; None if the file must be read.

        See `pushd.backends.interface.Backend.page`; `now` is in seconds of log time.
        """
        if (
            after.epoch != self.epoch
            or not self._is_complete_after(after.seq, now)
            or not self._closed.isdisjoint(topics)
        ):
            return None
        covers = Interest(topics).covers
        taken: list[Message] = []
        taken_bytes = 0
        position = after.seq
        for skipped, message in enumerate(self._messages_newer(topics, after.seq)):
            if len(taken) >= count or taken_bytes >= size or skipped - len(taken) >= _PAGE_SKIP_LIMIT:
                return Page(tuple(taken), (), MessageId(self.epoch, position), is_last=False)
            position = message.seq
            if covers(message.channel):
                taken.append(message)
                taken_bytes += message.size
        return Page(tuple(taken), (), MessageId(self.epoch, self.head), is_last=True)

    def _is_complete_after(self, seq: int, now: float) -> bool:
        """Return whether all messages after `seq` are here and none was lost; evict those that expired."""
        while self._deadlines and self._deadlines[0][0] <= now:
            self.raise_newest_loss(heapq.heappop(self._deadlines)[1])
        while self._born and self._born[0][0] + self._age <= now:
            self._evict_oldest()
        return max(self._start, self._newest_loss) <= seq <= self.head

    def _before_last(self, topics: Sequence[str], count: int, now: float) -> int | None:
        """Return the sequence before the newest `count` messages of the topics; None if they are not all here."""
        if count > len(self._messages):
            return None
        covers = Interest(topics).covers
        newest = (message.seq for message in self._newest_first(topics) if covers(message.channel))
        sequences = list(islice(newest, count))
        return (
            sequences[-1] - 1 if len(sequences) == count and self._is_complete_after(sequences[-1] - 1, now) else None
        )

    def _messages_newer(self, topics: Sequence[str], seq: int) -> Iterable[Message]:
        """Return the messages after `seq`, oldest first: those of the topics, or all if there are patterns."""
        return reversed(list(takewhile(lambda message: message.seq > seq, self._newest_first(topics))))

    def _newest_first(self, topics: Sequence[str]) -> Iterator[Message]:
        if any(map(is_pattern, topics)):
            return reversed(self._messages)
        self._sort()
        channels = (reversed(self._of_channel[topic]) for topic in topics if topic in self._of_channel)
        return heapq.merge(*channels, key=lambda message: message.seq, reverse=True)

    # Messages

    def _sort(self) -> None:
        for message in islice(self._messages, len(self._messages) - self._unsorted, None):
            self._of_channel.setdefault(message.channel, deque()).append(message)
        self._unsorted = 0

    def _add_deadline(self, deadline: float, seq: int) -> None:
        heapq.heappush(self._deadlines, (deadline, seq))
        if len(self._deadlines) > 2 * len(self._messages) + _HEAP_SLACK:
            self._deadlines = [entry for entry in self._deadlines if entry[1] > self._start]
            heapq.heapify(self._deadlines)

    def _evict_oldest(self) -> None:
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
