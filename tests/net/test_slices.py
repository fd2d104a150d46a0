"""Those who wait go on in their order, a slice of them in each turn of the reactor."""

from collections.abc import Callable

from twisted.internet.defer import Deferred

from pushd.net.slices import SLICE_SECONDS, Slices


class Turns:
    """A reactor that turns when the test says so, which `Clock` does not: there, calls that are due at once are one."""

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


class Crowd:
    """Some who wait; each takes half a slice."""

    def __init__(self, count: int, turns: int = 1) -> None:
        self.reactor = Turns()
        self.slices = Slices(self.reactor)  # type: ignore[arg-type]
        self.went: list[int] = []
        for number in range(count):
            Deferred.fromCoroutine(self._go(number, turns))

    async def _go(self, number: int, turns: int) -> None:
        for _ in range(turns):
            await self.slices.turn()
            self.went.append(number)
            self.reactor.now += SLICE_SECONDS / 2


def test_each_turn_runs_one_slice() -> None:
    crowd = Crowd(5)
    assert crowd.went == [], "not before the next turn"
    crowd.reactor.turn()
    assert crowd.went == [0, 1]
    crowd.reactor.turn()
    crowd.reactor.turn()
    assert crowd.went == [0, 1, 2, 3, 4]
    assert crowd.reactor.due == []


def test_repeated_wait_queues_behind_others() -> None:
    crowd = Crowd(3, turns=2)
    for _ in range(4):
        crowd.reactor.turn()
    assert crowd.went == [0, 1, 2, 0, 1, 2]
    assert crowd.reactor.due == []


def test_single_waiter_runs_once_per_turn() -> None:
    crowd = Crowd(1, turns=3)
    for number in range(3):
        assert crowd.went == [0] * number
        crowd.reactor.turn()
    assert crowd.went == [0] * 3
