"""The memory backend passes the contract."""

from collections.abc import Callable

import pytest
from twisted.internet.interfaces import IDelayedCall

from pushd.backends.memory import MemoryBackend
from tests.backends.backend_harness import Make, ManualClock
from tests.backends.contract import BackendContract
from tests.backends.contract_presence import PresenceContract


class TurningClock(ManualClock):
    """A clock that only the test advances; calls without a delay are made in the next reactor turn."""

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:
        """See `IReactorTime`."""
        from twisted.internet import reactor

        if delay:
            return super().callLater(delay, callable, *args, **kw)
        return reactor.callLater(delay, callable, *args, **kw)


class TestMemory(BackendContract):
    """The contract, for the memory backend."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        """Long operations take several reactor turns."""
        return TurningClock()

    @pytest.fixture
    def make(self, clock: ManualClock) -> Make:
        """Return memory backends."""
        return lambda bounds, rules: MemoryBackend(bounds, clock, clock.wall, "E", rules=rules)


class TestMemoryPresence(PresenceContract):
    """The contract of presence, for the memory backend."""

    @pytest.fixture
    def make(self, clock: ManualClock) -> Make:
        """Return memory backends."""
        return lambda bounds, rules: MemoryBackend(bounds, clock, clock.wall, "E", rules=rules)
