"""Waiting coroutines are resumed in order, for one time slice per reactor turn."""

from collections.abc import Callable

from twisted.internet.defer import Deferred

from pushd.net.turn_slices import SLICE_SECONDS, Slices


class ManualReactor:
    """A reactor whose turns the test triggers. `Clock` would run calls without a delay in the same turn."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due: list[Callable[[], object]] = []

    def seconds(self) -> float:
        return self.now

    def callLater(self, delay: float, call: Callable[[], object]) -> None:
        assert delay == 0
        self.due.append(call)

    def turn(self) -> None:
        due, self.due = self.due, []
        for call in due:
            call()


class Waiters:
    """Waiting coroutines, each of which runs for half a slice."""

    def __init__(self, count: int, turns: int = 1) -> None:
        self.reactor = ManualReactor()
        self.slices = Slices(self.reactor)  # type: ignore[arg-type]
        self.resumed: list[int] = []
        for number in range(count):
            Deferred.fromCoroutine(self._go(number, turns))

    async def _go(self, number: int, turns: int) -> None:
        for _ in range(turns):
            await self.slices.next_turn()
            self.resumed.append(number)
            self.reactor.now += SLICE_SECONDS / 2


def test_each_turn_runs_one_slice() -> None:
    waiters = Waiters(5)
    assert waiters.resumed == [], "resumed before the next turn"
    waiters.reactor.turn()
    assert waiters.resumed == [0, 1]
    waiters.reactor.turn()
    waiters.reactor.turn()
    assert waiters.resumed == [0, 1, 2, 3, 4]
    assert waiters.reactor.due == []


def test_repeated_wait_queues_behind_others() -> None:
    waiters = Waiters(3, turns=2)
    for _ in range(4):
        waiters.reactor.turn()
    assert waiters.resumed == [0, 1, 2, 0, 1, 2]
    assert waiters.reactor.due == []


def test_single_waiter_runs_once_per_turn() -> None:
    waiters = Waiters(1, turns=3)
    for number in range(3):
        assert waiters.resumed == [0] * number
        waiters.reactor.turn()
    assert waiters.resumed == [0] * 3
