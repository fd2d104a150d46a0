"""A harness for the SQLite backend: its methods block, so tests that break and restart it read from top to bottom."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pushd.backends.interface import BackendEvents
from pushd.backends.sqlite.backend import SqliteBackend
from pushd.backends.sqlite.writer_requests import TickRequest
from pushd.core.channel_rules import NO_RULES
from pushd.core.cursor import EVERYTHING, MessageId, Since
from pushd.core.gap_reports import GapReports
from pushd.core.history import Bounds
from pushd.core.message import Draft, Gap, Message, draft
from pushd.core.replay import StartPosition
from pushd.core.revocations import Revocation, Revocations
from tests.backends.threaded_clock import ThreadedClock


class SqliteHarness:
    """A SQLite backend with its callbacks recorded since the last start."""

    def __init__(
        self, directory: Path, sync: str = "normal", clock: ThreadedClock | None = None, **bounds: Any
    ) -> None:
        self.directory = directory
        self.file = directory / "history.sqlite"
        self.clock = clock or ThreadedClock()
        self.bounds = Bounds(**bounds)
        self.rules = NO_RULES
        """Those with which it starts."""
        self.sync = sync
        self.delivered: list[Message] = []
        self.deleted: list[str] = []
        self.health_reasons: list[str | None] = []
        self.revocations = Revocations()
        """What was passed to `on_revocations`."""
        self.backend: SqliteBackend

    def start(self) -> "SqliteHarness":
        """Start a new backend on the directory."""
        self.delivered, self.deleted, self.health_reasons = [], [], []
        self.backend = SqliteBackend(
            str(self.directory), self.bounds, self.clock, self.clock.wall, self.sync, self.rules
        )
        self.revocations = Revocations()
        events = BackendEvents(self.delivered.append, self.deleted.append, self.health_reasons.append)
        self.clock.wait(self.backend.start(events._replace(on_revocations=self._on_revocations)))
        return self

    def _on_revocations(self, revocations: Sequence[Revocation]) -> None:
        self.revocations.add(revocations, 0)

    def stop(self) -> None:
        """Stop the backend, if it runs."""
        self.clock.wait(self.backend.stop())

    def restart(self, **bounds: Any) -> "SqliteHarness":
        """Stop it and start a new one, perhaps with other bounds."""
        self.stop()
        self.bounds = self.bounds._replace(**bounds)
        return self.start()

    def crash(self) -> "SqliteHarness":
        """Start a backend on a copy of the files as they are now, as after a crash of this one."""
        copy = self.directory.with_name(f"{self.directory.name}-again")
        copy.mkdir()
        for part in self.directory.iterdir():
            (copy / part.name).write_bytes(part.read_bytes())
        return SqliteHarness(copy, self.sync, self.clock, **self.bounds._asdict()).start()

    # Requests

    def publish(self, channel: str, data: bytes = b"x", **rest: Any) -> Message:
        """Publish one message, which must be accepted."""
        (accepted,) = self.publish_all(draft(channel, data, **rest))
        assert isinstance(accepted, Message), accepted
        return accepted

    def publish_each(self, channels: str) -> list[Message]:
        """Publish to channels of one letter each, one message after the other."""
        return [self.publish(channel) for channel in channels]

    def publish_all(self, *drafts: Draft) -> Any:
        """Publish several messages at once; return the results."""
        return self.clock.wait(self.backend.publish(drafts))

    def delete(self, channel: str) -> bool:
        """Delete a channel."""
        return self.clock.wait(self.backend.delete(channel))

    def open(self, topics: str, since: Since) -> StartPosition:
        """Open topics, separated by commas."""
        return self.clock.wait(self.backend.open(tuple(topics.split(",")), since))

    def replay_since(self, topics: str, since: Since, count: int = 10_000) -> tuple[list[Message], list[Gap]]:
        """Open topics and read all pages; return the messages and the gaps."""
        start_position = self.open(topics, since)
        messages: list[Message] = []
        reports = GapReports()
        gaps = reports.opened(start_position)
        position, complete = start_position.position, not start_position.needs_replay
        while not complete:
            page = self.clock.wait(self.backend.page(tuple(topics.split(",")), position, count, 1 << 30))
            gaps += reports.of_page(page)
            messages += page.messages
            position, complete = page.position, page.is_last
        return messages, gaps

    def stored(self, topics: str = "**", since: Since = EVERYTHING) -> list[Message]:
        """Return all stored messages of topics."""
        return self.replay_since(topics, since)[0]

    def tick(self) -> None:
        """Process a tick, so that messages expire."""
        self.clock.wait(self._tick())

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Run calls of the threads until a condition holds."""
        self.clock.until(condition)

    @property
    def epoch(self) -> str:
        """The epoch of the log."""
        return self.backend._totals.epoch

    def cursor_at(self, seq: int) -> MessageId:
        """Return the cursor of a client that has everything up to a sequence."""
        return MessageId(self.epoch, seq)

    def sql(self, query: str, *values: object) -> list[Any]:
        """Run a query on the file itself."""
        db = sqlite3.connect(self.file, isolation_level=None)
        try:
            return db.execute(query, values).fetchall()
        finally:
            db.close()

    async def _tick(self) -> None:
        await self.backend._submit(TickRequest(*self.backend._time()))


def data(messages: list[Message]) -> list[bytes]:
    """Return the data of messages."""
    return [message.data for message in messages]
