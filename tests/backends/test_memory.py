"""The store in memory keeps what every store promises."""

import pytest

from pushd.backends.memory import MemoryBackend
from tests.backends.contract import BackendContract
from tests.backends.stage import Make, StageClock


class TestMemory(BackendContract):
    """All that every store promises, in memory."""

    @pytest.fixture
    def make(self, clock: StageClock) -> Make:
        """Make it."""
        return lambda bounds: MemoryBackend(bounds, clock, clock.wall, "E")
