"""The store on disk keeps what every store promises, whatever answers: the tail in memory, an index, or the log."""

from pathlib import Path

import pytest

from pushd.backends.sqlite import log_snapshot, tail
from pushd.backends.sqlite.backend import SqliteBackend
from tests.backends.backend_harness import Make, StageClock
from tests.backends.contract import BackendContract


class TestSqlite(BackendContract):
    """All that every store promises, on disk."""

    @pytest.fixture
    def make(self, clock: StageClock, tmp_path: Path) -> Make:
        """Make it, each in a directory of its own."""
        directories = (tmp_path / str(number) for number in range(100))
        return lambda bounds: SqliteBackend(str(next(directories)), bounds, clock, clock.wall, "normal")


class TestByIndex(TestSqlite):
    """The same with nothing in memory."""

    @pytest.fixture(autouse=True)
    def without_tail(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Keep no tail."""
        monkeypatch.setattr(tail, "_MAX_MESSAGES", 0)


class TestThroughTheLog(TestByIndex):
    """The same where each pattern counts as one that covers many channels."""

    @pytest.fixture(autouse=True)
    def without_few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let nothing be few."""
        monkeypatch.setattr(log_snapshot, "_FEW_CHANNELS", 0)
