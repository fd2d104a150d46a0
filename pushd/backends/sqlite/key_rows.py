"""The rows of idempotency keys: what was published with them, so that a repeat after a restart publishes nothing."""

import sqlite3
from collections.abc import Sequence
from math import inf
from typing import Final

from pushd.backends.interface import Duplicate, PublishResult
from pushd.core.errors import IdempotencyMismatch
from pushd.core.idempotency import MISMATCH, SECONDS, IdempotencyKey
from pushd.core.message import Message

MAX_KEYS: Final = 40_000
"""The most keys in a file, about as many as the hub remembers. Beyond it, the oldest are forgotten."""
_REFUSED: Final = "-"
"""Takes the place of the id of a message that was refused."""


class KeyRows:
    """The idempotency keys in a file. Not thread-safe.

    :param most: the most keys.
    """

    def __init__(self, db: sqlite3.Connection, most: int = MAX_KEYS) -> None:
        self._db = db
        self._most = most
        self._count = int(db.execute("SELECT count(*) FROM key").fetchone()[0])

    def find(self, key: IdempotencyKey, count: int, time: float) -> list[Duplicate | IdempotencyMismatch | None]:
        """Return what became of the messages that were published with a key.

        :param count: the number of messages.
        :param time: unix seconds.
        :return: for each message None if it was not published, or refused, so that it may be published now.
        """
        row = self._db.execute("SELECT digest, ids FROM key WHERE text = ? AND until > ?", (key.text, time)).fetchone()
        if row is None:
            return [None] * count
        digest, ids = row[0], row[1].split(" ")
        if digest != key.digest or len(ids) != count:
            return [IdempotencyMismatch(MISMATCH)] * count
        return [None if id == _REFUSED else Duplicate(id, 0) for id in ids]

    def write(self, key: IdempotencyKey, results: Sequence[PublishResult], time: float) -> None:
        """Remember a key, and forget at most two others: one row more is deleted than inserted."""
        if any(isinstance(each, IdempotencyMismatch) for each in results):
            return
        ids = [each.id if isinstance(each, Message | Duplicate) else _REFUSED for each in results]
        if all(id == _REFUSED for id in ids):
            return
        self._count -= self._db.execute("DELETE FROM key WHERE text = ?", (key.text,)).rowcount
        row = key.text, key.digest, " ".join(ids), time + SECONDS
        self._count += self._db.execute("INSERT INTO key VALUES (?, ?, ?, ?)", row).rowcount
        deletion = self._db.execute(
            "DELETE FROM key WHERE text IN (SELECT text FROM key WHERE until <= ? ORDER BY until LIMIT 2)",
            (inf if self._count > self._most else time,),
        )
        self._count -= deletion.rowcount
