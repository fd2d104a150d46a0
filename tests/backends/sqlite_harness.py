"""A store on disk for tests that open, break and restart it; all waits, so that tests read from top to bottom."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pushd.backends.interface import BackendEvents
from pushd.backends.sqlite.backend import SqliteBackend
from pushd.backends.sqlite.writer_requests import TickRequest
from pushd.core.cursor import EVERYTHING, MessageId, Since
from pushd.core.history import Bounds
from pushd.core.message import Draft, Gap, Message, draft
from pushd.core.replay import StartPosition
from tests.backends.threaded_clock import ThreadedClock


class DiskStore:
    """A store, and what it has called back since it was last started."""

    def __init__(
        self, directory: Path, sync: str = "normal", clock: ThreadedClock | None = None, **bounds: Any
    ) -> None:
        self.directory = directory
        self.file = directory / "history.sqlite"
        self.clock = clock or ThreadedClock()
        self.bounds = Bounds(**bounds)
        self.sync = sync
        self.heard: list[Message] = []
        self.forgotten: list[str] = []
        self.health_reasons: list[str | None] = []
        self.backend: SqliteBackend

    def start(self) -> "DiskStore":
        """Start it."""
        self.heard, self.forgotten, self.health_reasons = [], [], []
        self.backend = SqliteBackend(str(self.directory), self.bounds, self.clock, self.clock.wall, self.sync)
        self.clock.wait(
            self.backend.start(BackendEvents(self.heard.append, self.forgotten.append, self.health_reasons.append))
        )
        return self

    def stop(self) -> None:
        """Stop it, if it runs."""
        self.clock.wait(self.backend.stop())

    def restart(self, **bounds: Any) -> "DiskStore":
        """Stop and start it, with other bounds perhaps."""
        self.stop()
        self.bounds = self.bounds._replace(**bounds)
        return self.start()

    def crash(self) -> "DiskStore":
        """Start another one on a copy of what is on disk now, as if this one had been killed."""
        copy = self.directory.with_name(f"{self.directory.name}-again")
        copy.mkdir()
        for part in self.directory.iterdir():
            (copy / part.name).write_bytes(part.read_bytes())
        return DiskStore(copy, self.sync, self.clock, **self.bounds._asdict()).start()

    # Ask

    def publish(self, channel: str, data: bytes = b"x", **rest: Any) -> Message:
        """Publish one message, which must be accepted."""
        (accepted,) = self.try_all(draft(channel, data, **rest))
        assert isinstance(accepted, Message), accepted
        return accepted

    def publish_each(self, channels: str) -> list[Message]:
        """Publish to channels of one letter each."""
        return [self.publish(channel) for channel in channels]

    def try_all(self, *drafts: Draft) -> Any:
        """Publish several at once, accepted or not."""
        return self.clock.wait(self.backend.publish(drafts))

    def forget(self, channel: str) -> bool:
        """Delete a channel."""
        return self.clock.wait(self.backend.delete(channel))

    def open(self, topics: str, since: Since) -> StartPosition:
        """Open at topics, joined by commas."""
        return self.clock.wait(self.backend.open(tuple(topics.split(",")), since))

    def come_back(self, topics: str, since: Since, count: int = 10_000) -> tuple[list[Message], list[Gap]]:
        """Open and read to the end; give the messages and the gaps that are told."""
        opening = self.open(topics, since)
        messages: list[Message] = []
        gaps = list(opening.gaps)
        told = {(gap.topic, gap.end) for gap in (*opening.gaps, *opening.known_gaps)}
        position, complete = opening.position, not opening.needs_replay
        while not complete:
            page = self.clock.wait(self.backend.page(tuple(topics.split(",")), position, count, 1 << 30))
            gaps += [gap for gap in page.gaps if (gap.topic, gap.end) not in told]
            told |= {(gap.topic, gap.end) for gap in page.gaps}
            messages += page.messages
            position, complete = page.position, page.is_last
        return messages, gaps

    def kept(self, topics: str = "**", since: Since = EVERYTHING) -> list[Message]:
        """Give all that is kept."""
        return self.come_back(topics, since)[0]

    def tick(self) -> None:
        """Let the writer know what time it is."""
        self.clock.wait(self._tick())

    def until(self, condition: Callable[[], object]) -> None:
        """Let the threads work until something holds."""
        self.clock.until(condition)

    @property
    def epoch(self) -> str:
        """The epoch."""
        return self.backend._totals.epoch

    def at(self, seq: int) -> MessageId:
        """Give the cursor of one who heard all up to a sequence."""
        return MessageId(self.epoch, seq)

    def sql(self, query: str, *values: object) -> list[Any]:
        """Ask the file itself; also where no store runs."""
        db = sqlite3.connect(self.file, isolation_level=None)
        try:
            return db.execute(query, values).fetchall()
        finally:
            db.close()

    async def _tick(self) -> None:
        await self.backend._submit(TickRequest(*self.backend._time()))


def data(messages: list[Message]) -> list[bytes]:
    """Give the data of messages."""
    return [message.data for message in messages]
