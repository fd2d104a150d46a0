"""The idempotency keys of the last two minutes, so that a repeat after a restart is not published again.

Within one run the hub remembers them. The rows are only written then, and read at the next start.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple

from pushd.backends.interface import Duplicate
from pushd.core.errors import IdempotencyMismatch
from pushd.core.idempotency import MISMATCH, SECONDS, IdempotencyKey
from pushd.core.message import Message

MAX_KEYS: Final = 40_000
"""The most keys that are kept: about as many as the hub remembers."""
_TRIM_EVERY: Final = 1000
"""After so many new keys those that are not needed any more are deleted."""
_INSERT: Final = "INSERT INTO idempotency_key (text, digest, until, sequences) VALUES (?, ?, ?, ?)"


class _Publish(NamedTuple):
    """A publish of an earlier run."""

    digest: bytes
    until: float
    """Unix seconds."""
    sequences: tuple[int, ...]
    """Those of its messages; 0 for one that was refused."""


class RememberedKeys:
    """The keys in a file.

    :param epoch: the epoch of the log.
    """

    def __init__(self, db: sqlite3.Connection, epoch: str) -> None:
        self._db = db
        self._epoch = epoch
        self._added = _TRIM_EVERY
        """Keys that were written since old ones were deleted."""
        self._new: list[tuple[str, bytes, float, str]] = []
        rows = db.execute("SELECT text, digest, until, sequences FROM idempotency_key ORDER BY number").fetchall()
        self._earlier = {
            text: _Publish(digest, until, tuple(map(int, sequences.split()))) for text, digest, until, sequences in rows
        }

    def find(self, key: IdempotencyKey, count: int, time: float) -> list[Duplicate | IdempotencyMismatch | None] | None:
        """Return the results of a publish of an earlier run, None in the place of each message that it did not store.

        :param count: the number of messages.
        :param time: unix seconds.
        :return: None if the key was not used.
        """
        earlier = self._earlier.get(key.text)
        if earlier is None or earlier.until <= time:
            return None
        if earlier.digest != key.digest or len(earlier.sequences) != count:
            return [IdempotencyMismatch(MISMATCH).without_traceback()] * count
        return [Duplicate(f"{self._epoch}-{sequence}", 0) if sequence else None for sequence in earlier.sequences]

    def add(self, key: IdempotencyKey, results: Sequence[object], time: float) -> None:
        """Add a key with the results of its publish, unless it has stored nothing.

        :param time: unix seconds.
        """
        sequences = [_sequence(result) for result in results]
        if not any(sequences):
            return
        self._new.append((key.text, key.digest, time + SECONDS, " ".join(map(str, sequences))))

    def flush(self, time: float) -> None:
        """Write the new keys of a transaction, and delete old ones now and then.

        :param time: unix seconds.
        """
        if not self._new:
            return
        self._db.executemany(_INSERT, self._new)
        self._added += len(self._new)
        self._new.clear()
        if self._added >= _TRIM_EVERY:
            self._added = 0
            self._trim(time)

    def _trim(self, time: float) -> None:
        self._db.execute(
            "DELETE FROM idempotency_key WHERE number <= (SELECT max(number) FROM idempotency_key) - ?", (MAX_KEYS,)
        )
        # They are in the order of their times, so the search ends at the first that is still needed.
        self._db.execute(
            "DELETE FROM idempotency_key WHERE number < "
            "coalesce((SELECT number FROM idempotency_key WHERE until > ? ORDER BY number LIMIT 1), 0)",
            (time,),
        )
        if self._earlier and all(publish.until <= time for publish in self._earlier.values()):
            self._earlier.clear()


def _sequence(result: object) -> int:
    """Return the sequence of a message that is stored, now or before; 0 for one that was refused."""
    if isinstance(result, Message):
        return result.seq
    return int(result.id.rpartition("-")[2]) if isinstance(result, Duplicate) else 0
