"""The store on disk keeps what every store promises."""

from pathlib import Path

import pytest

from pushd.backends.sqlite.backend import SqliteBackend
from tests.backends.contract import BackendContract
from tests.backends.stage import Make, StageClock


class TestSqlite(BackendContract):
    """All that every store promises, on disk."""

    @pytest.fixture
    def make(self, clock: StageClock, tmp_path: Path) -> Make:
        """Make it, each in a directory of its own."""
        directories = (tmp_path / str(number) for number in range(100))
        return lambda bounds: SqliteBackend(str(next(directories)), bounds, clock, clock.wall, "normal")
