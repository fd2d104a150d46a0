"""A scan of all channels for the newest losses of patterns that match many of them."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pushd.backends.sqlite.row_reader import CHUNK_ROWS, RowReader
from pushd.core.patterns import UnmatchedPatterns

_MAX_SEQUENCE = 1 << 62
"""Greater than any sequence."""
_EXPIRED_ROWS = 2000
"""The most expired messages that are read one by one; if there are more, the newest one of each channel is queried."""


class ChannelLoss(NamedTuple):
    """The newest lost message of a channel. Compares by sequence."""

    seq: int
    time: float
    """Its timestamp, in unix seconds."""
    reason: str
    """``evicted``, ``expired`` or ``unknown``; empty when nothing was lost."""


class LossScan:
    """Scans the channels once, however many patterns there are."""

    def __init__(
        self,
        reader: RowReader,
        now: float,
        head: int,
        expired_through: Callable[[str], int],
        expired_anywhere: int,
        *,
        has_ages: bool,
        has_expired_ttl: bool,
    ) -> None:
        """
        :param now: seconds of log time.
        :param head: the newest sequence.
        :param expired_through: returns the sequence up to which the messages of a channel have expired by their age.
        :param expired_anywhere: the greatest of these sequences.
        :param has_ages: whether not all of them are the same.
        :param has_expired_ttl: whether there are messages whose own time to live is over.
        """
        self._reader = reader
        self._now = now
        self._head = head
        self._expired_through = expired_through
        self._expired_anywhere = expired_anywhere
        self._has_ages = has_ages
        self._has_expired_ttl = has_expired_ttl

    def newest_losses(self, patterns: Sequence[str], after: int) -> dict[str, ChannelLoss]:
        """Return the newest loss of each pattern that lost a message after `after`, by pattern."""
        losses: dict[str, ChannelLoss] = {}
        for losses_by_name in (self._recorded_losses(after), self._age_losses(after), self._ttl_losses(after)):
            unmatched = UnmatchedPatterns(patterns)
            for name, read_loss in losses_by_name:
                taken = unmatched.take(name)
                if taken:
                    loss = read_loss()
                    losses.update((pattern, max(loss, losses.get(pattern, loss))) for pattern in taken)
                    if unmatched.is_empty:
                        break
        return losses

    def _recorded_losses(self, after: int) -> Iterator[tuple[str, Callable[[], ChannelLoss]]]:
        """Yield the channels with a recorded loss after `after`, the newest loss first.

        Each comes with a function that reads the loss.
        """
        # One row for a whole chunk: SQLite builds it without the interpreter's lock.
        query = (
            "SELECT group_concat(name, char(10)), min(lost) FROM "
            f"(SELECT name, lost FROM channel WHERE lost > ? AND lost < ? ORDER BY lost DESC LIMIT {CHUNK_ROWS})"
        )
        below = _MAX_SEQUENCE
        while True:
            joined, below = self._reader.first(query, after, below)
            if joined is None:
                return
            names = joined.split("\n")
            self._reader.on_rows_read(len(names))
            for name in names:
                yield (
                    name,
                    lambda name=name: ChannelLoss(  # type: ignore[misc]
                        *self._reader.first("SELECT lost, lost_time, lost_reason FROM channel WHERE name = ?", name)
                    ),
                )

    def _age_losses(self, after: int) -> Iterator[tuple[str, Callable[[], ChannelLoss]]]:
        """Yield, likewise, the channels of messages that expired by the retention and still have rows."""
        if self._expired_anywhere <= after:
            return
        rows = self._reader.counted_rows(
            "SELECT name, seq FROM message CROSS JOIN channel ON channel.id = message.channel"
            f" WHERE seq > ? AND seq <= ? AND seq > floor ORDER BY seq DESC LIMIT {_EXPIRED_ROWS}",
            after,
            self._expired_anywhere,
        )
        count = 0
        for name, seq in rows:
            count += 1
            if self._has_ages and seq > self._expired_through(name):
                continue
            yield name, lambda seq=seq: self._expiry_loss(seq)  # type: ignore[misc]
        if count < _EXPIRED_ROWS:
            return
        expired = "?"
        if self._has_ages:
            expired = f"min(?, {self._reader.function('expired_through', self._expired_through)}(name))"
        newest = f"(SELECT max(seq) FROM message WHERE channel = channel.id AND seq > floor AND seq <= {expired})"
        query = f"SELECT name, {newest} AS newest FROM channel WHERE newest > ? ORDER BY newest DESC"
        for name, seq in self._reader.counted_rows(query, self._expired_anywhere, after):
            yield name, lambda seq=seq: self._expiry_loss(seq)  # type: ignore[misc]

    def _ttl_losses(self, after: int) -> Iterator[tuple[str, Callable[[], ChannelLoss]]]:
        """Yield, likewise, the channels of messages whose own time to live is over and that still have rows."""
        if not self._has_expired_ttl:
            return
        query = (
            "SELECT name, max(seq) AS newest FROM message JOIN channel ON channel.id = message.channel"
            " WHERE deadline <= ? AND seq > ? AND seq <= ? AND seq > floor GROUP BY channel.id ORDER BY newest DESC"
        )
        for name, seq in self._reader.counted_rows(query, self._now, after, self._head):
            yield name, lambda seq=seq: self._expiry_loss(seq)  # type: ignore[misc]

    def _expiry_loss(self, seq: int) -> ChannelLoss:
        return ChannelLoss(*self._reader.first("SELECT seq, time, 'expired' FROM message WHERE seq = ?", seq))
