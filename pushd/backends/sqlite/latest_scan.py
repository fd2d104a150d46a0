"""A scan for the newest message of each of many channels, up to a sequence."""

from collections.abc import Callable, Iterator

from pushd.backends.sqlite.row_reader import RowReader


class LatestScan:
    """The newest messages up to a sequence, in one read transaction.

    :param upto: the sequence.
    :param expired_through: returns the sequence up to which the messages of a channel have expired by their age.
    :param expired_everywhere: the lowest of these sequences.
    :param alive: an SQL condition on messages, beginning with AND, that excludes those whose own time to live is over.
        Empty if there are none of these.
    """

    def __init__(
        self,
        reader: RowReader,
        upto: int,
        expired_through: Callable[[str], int],
        expired_everywhere: int,
        alive: str,
    ) -> None:
        self._reader = reader
        self._upto = upto
        self._expired_through = expired_through
        self._expired_everywhere = expired_everywhere
        self._alive = alive

    def start(self, covers: Callable[[str], bool]) -> int:
        """Return the sequence before the oldest newest message of any covered channel; `upto` if there is none."""
        query = "SELECT id, name, last, lost FROM channel WHERE last > floor AND last > ? ORDER BY last > lost, last"
        start = self._upto
        for id, name, last, lost in self._reader.counted_rows(query, self._expired_everywhere):
            if last <= self._expired_through(name):
                continue
            is_kept = self._is_kept(last, lost)
            if is_kept and last > start:
                break  # the messages of all further channels are newer
            if covers(name):
                newest = last if is_kept else self._newest(id, name)
                start = min(start, newest - 1) if newest else start
        return start

    def after(self, seq: int, covers: Callable[[str], bool]) -> Iterator[tuple[int, str | None]]:
        """Yield the sequences of messages after `seq`, each with its channel if that is covered and this its newest."""
        # CROSS JOIN makes SQLite scan the messages in their order, instead of channel by channel.
        query = (
            "SELECT seq, name, channel.id, last, lost FROM message CROSS JOIN channel ON channel.id = message.channel"
            f" WHERE seq > ? AND seq <= ? AND seq > floor {self._alive} ORDER BY seq"
        )
        rows = self._reader.counted_rows(query, max(seq, self._expired_everywhere), self._upto)
        for found, name, id, last, lost in rows:
            is_newest = (
                covers(name)
                and found > self._expired_through(name)
                and found == (last if self._is_kept(last, lost) else self._newest(id, name))
            )
            yield found, name if is_newest else None

    def _is_kept(self, last: int, lost: int) -> bool:
        """Return whether the newest message of a channel is up to the sequence and certainly kept."""
        return lost < last <= self._upto and not self._alive

    def _newest(self, id: int, name: str) -> int:
        """Return the sequence of the newest message of a channel that is kept; 0 for none."""
        query = "SELECT seq FROM message JOIN channel ON channel.id = message.channel"
        query += f" WHERE channel = ? AND seq <= ? AND seq > ? AND seq > floor {self._alive} ORDER BY seq DESC LIMIT 1"
        row = self._reader.first(query, id, self._upto, self._expired_through(name))
        return int(row[0]) if row else 0
