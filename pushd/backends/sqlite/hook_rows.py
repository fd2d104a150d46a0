"""The rows of events of hooks, each with a checksum, and the backlog of each hook.

Numbers are shared by all hooks, so that rows are appended in their order.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from zlib import crc32

import msgspec

from pushd.backends.hook_outbox import EVENT_OVERHEAD, Backlog, HookBounds, QueuedEvent

MAX_TAKEN: Final = 500
"""The most events that are removed with their bodies in one transaction, beside two for each that is added: some 10 ms
where they become dead letters."""
_MOST: Final = (1 << 63) - 1
_COLUMNS: Final = "number, hook, channel, time, crc, body"
_SIZE: Final = f"(length(body) + length(channel) + {EVENT_OVERHEAD})"
_INSERT: Final = f"INSERT INTO hook_event ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"

_Row = tuple[int, str, str, float, int, bytes]
_pack = msgspec.msgpack.Encoder().encode


def oldest_events(rows: Iterable[_Row], count: int, size: int) -> list[QueuedEvent]:
    """Return the first events, as `HookOutbox.first`, without those that are damaged.

    :param rows: those of `OLDEST`.
    """
    taken: list[QueuedEvent] = []
    for row in rows:
        event = _event_of_row(row)
        if event is not None:
            taken.append(event)
            size -= len(event.body)
        if len(taken) >= count or size <= 0:
            break
    return taken


OLDEST: Final = f"SELECT {_COLUMNS} FROM hook_event WHERE hook = ? ORDER BY number"


class _Hook:
    """The backlog of one hook."""

    __slots__ = ("added", "bytes", "dead", "events", "has_changed", "last", "oldest")

    def __init__(self, last: int, dead: int) -> None:
        self.last = last
        self.dead = dead
        self.events = 0
        self.bytes = 0
        self.added = 0
        """Events that were added in this transaction."""
        self.oldest: float | None = None
        """When the oldest event was added, in unix seconds; None if it is to be read."""
        self.has_changed = False

    def fits(self, bounds: HookBounds) -> bool:
        return self.events <= bounds.events and self.bytes <= bounds.bytes


class HookLedger:
    """The backlogs of all hooks, and the events that the next commit writes. Not thread-safe."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._hooks: dict[str, _Hook] = {}
        self._added: list[_Row] = []
        self.bounds: dict[str, HookBounds] = {}
        """Those of the hooks with new events in this transaction."""
        for name, last, dead in db.execute("SELECT name, last, dead FROM hook"):
            self._hooks[name] = _Hook(last, dead)
        totals = f"SELECT hook, count(*), total({_SIZE}), max(number) FROM hook_event GROUP BY hook"
        for name, events, size, last in db.execute(totals).fetchall():
            hook = self._hooks.setdefault(name, _Hook(last, 0))
            hook.events, hook.bytes = events, int(size)
            self._read_oldest(name, hook)
        self._last = max((hook.last for hook in self._hooks.values()), default=0)
        self.backlogs: Mapping[str, Backlog] = self._backlogs()
        """The backlog of each hook, as of the last `flush`."""

    def add(self, name: str, channel: str, time: float, body: bytes) -> None:
        """Add an event. `trim` enforces the bounds."""
        hook = self._hooks.setdefault(name, _Hook(0, 0))
        self._last = hook.last = self._last + 1
        self._added.append((self._last, name, channel, time, _crc(self._last, name, channel, time, body), body))
        if not hook.events:
            hook.oldest = time
        hook.events += 1
        hook.bytes += len(body) + len(channel) + EVENT_OVERHEAD
        hook.added += 1
        hook.has_changed = True

    def confirm(self, name: str, through: int) -> None:
        """Remove the events up to a number."""
        hook = self._hooks.get(name)
        if hook is not None and hook.events:
            self._insert()
            where = "FROM hook_event WHERE hook = ? AND number <= ?"
            row = self._db.execute(f"SELECT count(*), total({_SIZE}) {where}", (name, through)).fetchone()
            self._delete(name, hook, through, row[0], int(row[1]))

    def take(self, name: str, through: int, before: float) -> tuple[Sequence[QueuedEvent], bool]:
        """Remove the oldest events up to a number and before a time; return the intact ones, and whether more follow.

        At most `MAX_TAKEN` are removed.
        """
        hook = self._hooks.get(name)
        if hook is None or not hook.events:
            return (), False
        rows = self._oldest(name, MAX_TAKEN, through)
        old = [row for row in rows if row[3] < before]
        return self._take(name, hook, old), len(old) == MAX_TAKEN

    def trim(self) -> Iterator[tuple[str, QueuedEvent]]:
        """Remove the oldest events beyond the bounds of hooks with new ones; yield each intact one with its hook."""
        for name, hook in self._hooks.items():
            bounds = self.bounds.get(name)
            if not hook.added or bounds is None or hook.fits(bounds):
                continue
            rows: list[_Row] = []
            size = hook.bytes
            for row in self._oldest(name, MAX_TAKEN + 2 * hook.added, _MOST):
                if hook.events - len(rows) <= bounds.events and size <= bounds.bytes:
                    break
                rows.append(row)
                size -= _size_of(row)
            yield from [(name, event) for event in self._take(name, hook, rows)]

    def flush(self) -> None:
        """Write everything that is still to be written."""
        self._insert()
        changed = [(name, hook) for name, hook in self._hooks.items() if hook.has_changed]
        if not changed:
            return
        rows = [(name, hook.last, hook.dead) for name, hook in changed]
        self._db.executemany("INSERT OR REPLACE INTO hook (name, last, dead) VALUES (?, ?, ?)", rows)
        for name, hook in changed:
            if hook.oldest is None:
                self._read_oldest(name, hook)
            hook.has_changed, hook.added = False, 0
        self.bounds.clear()
        self.backlogs = self._backlogs()

    def _insert(self) -> None:
        if self._added:
            self._db.executemany(_INSERT, self._added)
            self._added.clear()

    def _oldest(self, name: str, count: int, through: int) -> Iterable[_Row]:
        """Return rows of the oldest events up to a number. The statement must not outlast the deletion of its rows."""
        self._insert()
        query = f"SELECT {_COLUMNS} FROM hook_event WHERE hook = ? AND number <= ? ORDER BY number LIMIT ?"
        return self._db.execute(query, (name, through, count)).fetchall()

    def _take(self, name: str, hook: _Hook, rows: Sequence[_Row]) -> list[QueuedEvent]:
        """Remove the oldest events, which become dead letters; return the intact ones."""
        if not rows:
            return []
        hook.dead += len(rows)
        self._delete(name, hook, rows[-1][0], len(rows), sum(map(_size_of, rows)))
        return [event for row in rows if (event := _event_of_row(row)) is not None]

    def _delete(self, name: str, hook: _Hook, through: int, count: int, size: int) -> None:
        if count:
            self._db.execute("DELETE FROM hook_event WHERE hook = ? AND number <= ?", (name, through))
            hook.events -= count
            hook.bytes -= size
            hook.oldest, hook.has_changed = None, True

    def _read_oldest(self, name: str, hook: _Hook) -> None:
        query = "SELECT time FROM hook_event WHERE hook = ? ORDER BY number LIMIT 1"
        row = self._db.execute(query, (name,)).fetchone() if hook.events else None
        hook.oldest = None if row is None else row[0]

    def _backlogs(self) -> dict[str, Backlog]:
        return {name: Backlog(hook.events, hook.bytes, hook.oldest, hook.dead) for name, hook in self._hooks.items()}


def copy_events(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Copy the intact events of a damaged file that can be read, and the counts of their hooks."""
    for order in ("ASC", "DESC"):
        with suppress(sqlite3.DatabaseError):
            for row in source.execute(f"SELECT {_COLUMNS} FROM hook_event ORDER BY number {order}"):
                if _event_of_row(row) is not None:
                    target.execute(_INSERT.replace("INSERT", "INSERT OR IGNORE", 1), row)
        with suppress(sqlite3.DatabaseError):
            for row in source.execute(f"SELECT name, last, dead FROM hook ORDER BY name {order}"):
                if tuple(map(type, row)) == (str, int, int):
                    target.execute("INSERT OR IGNORE INTO hook (name, last, dead) VALUES (?, ?, ?)", row)


def _size_of(row: _Row) -> int:
    return len(row[5]) + len(row[2]) + EVENT_OVERHEAD


def _event_of_row(row: Any) -> QueuedEvent | None:
    """Return the event of a row; None if it is damaged."""
    number, hook, channel, time, crc, body = row
    try:
        is_intact = crc == _crc(number, hook, channel, time, body)
    except (TypeError, ValueError):  # a value of the wrong type
        return None
    return QueuedEvent(number, channel, time, body) if is_intact else None


def _crc(number: int, hook: str, channel: str, time: float, body: bytes) -> int:
    return crc32(body, crc32(_pack((number, hook, channel, time))))
