"""The store in memory keeps what every store promises."""

from collections.abc import Callable

import pytest
from twisted.internet.interfaces import IDelayedCall

from pushd.backends.memory import MemoryBackend
from tests.backends.backend_harness import Make, StageClock
from tests.backends.contract import BackendContract


class TurningClock(StageClock):
    """A clock that only the test moves, but what is due at once is called in the next turn of the reactor."""

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:
        """See `IReactorTime`."""
        from twisted.internet import reactor

        if delay:
            return super().callLater(delay, callable, *args, **kw)
        return reactor.callLater(delay, callable, *args, **kw)


class TestMemory(BackendContract):
    """All that every store promises, in memory."""

    @pytest.fixture
    def clock(self) -> StageClock:
        """Long answers take several turns of the reactor."""
        return TurningClock()

    @pytest.fixture
    def make(self, clock: StageClock) -> Make:
        """Make it."""
        return lambda bounds: MemoryBackend(bounds, clock, clock.wall, "E")
