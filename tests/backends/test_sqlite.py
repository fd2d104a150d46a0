"""The SQLite backend passes the contract, whether it answers from memory, by index, or by a scan of the log."""

from pathlib import Path

import pytest

from pushd.backends.sqlite import log_snapshot, tail
from pushd.backends.sqlite.backend import SqliteBackend
from tests.backends.backend_harness import Make, ManualClock
from tests.backends.contract import BackendContract
from tests.backends.contract_presence import PresenceContract


class TestSqlite(BackendContract):
    """The contract, for the SQLite backend."""

    @pytest.fixture
    def make(self, clock: ManualClock, tmp_path: Path) -> Make:
        """Return SQLite backends, each with a directory of its own."""
        directories = (tmp_path / str(number) for number in range(100))
        return lambda bounds, rules: SqliteBackend(str(next(directories)), bounds, clock, clock.wall, "normal", rules)


class TestSqliteByIndex(TestSqlite):
    """The same with no messages in memory."""

    @pytest.fixture(autouse=True)
    def without_tail(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Keep no messages in the tail."""
        monkeypatch.setattr(tail, "_MAX_MESSAGES", 0)


class TestSqliteByScan(TestSqliteByIndex):
    """The same with each pattern handled as one that matches many channels."""

    @pytest.fixture(autouse=True)
    def without_few_channels(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Replace no pattern by channel names."""
        monkeypatch.setattr(log_snapshot, "_FEW_CHANNELS", 0)


class TestSqlitePresence(PresenceContract):
    """The contract of presence, for the SQLite backend."""

    make = TestSqlite.make
