"""Many timeouts share one timer of the reactor, and each expires in time."""

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent

from pushd.net.coarse_timers import CoarseTimers


class Waiting:
    """Records the times at which its timeout expires."""

    def __init__(self, clock: Clock) -> None:
        self.due = 0
        self.ends: list[float] = []
        self._clock = clock

    def expire(self) -> None:
        self.ends.append(self._clock.seconds())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def alarms(clock: Clock) -> CoarseTimers:
    return CoarseTimers(clock)


@pytest.mark.parametrize("begun", [0.0, 0.01, 7.3])
@pytest.mark.parametrize("seconds", [0, 0.1, 1, 24.99, 300])
def test_timeout_expires_once_less_than_an_eighth_of_a_second_late(
    clock: Clock, alarms: CoarseTimers, begun: float, seconds: float
) -> None:
    waiting = Waiting(clock)
    clock.advance(begun)
    alarms.start(waiting, seconds)
    clock.pump([0.01] * int(100 * (seconds + 1)))
    (end,) = waiting.ends
    assert begun + seconds - 1e-6 <= end < begun + seconds + 0.125 + 0.011


def test_timeouts_expire_independently_in_any_order(clock: Clock, alarms: CoarseTimers) -> None:
    waits = {seconds: Waiting(clock) for seconds in (3, 1, 2, 1.5)}
    for seconds, waiting in waits.items():
        alarms.start(waiting, seconds)
    clock.pump([0.125] * 32)
    assert {seconds: waiting.ends for seconds, waiting in waits.items()} == {s: [s] for s in (3, 1, 2, 1.5)}


def test_timeouts_share_one_timer_and_need_none_when_idle(clock: Clock, alarms: CoarseTimers) -> None:
    waits = [Waiting(clock) for _ in range(5)]
    for number, waiting in enumerate(waits):
        alarms.start(waiting, 10 - number)
        assert len(clock.getDelayedCalls()) == 1
    for waiting in waits:
        alarms.cancel(waiting)
        alarms.cancel(waiting)
    assert clock.getDelayedCalls() == []
    clock.advance(20)
    assert not any(waiting.ends for waiting in waits)


def test_cancelled_timeout_does_not_expire_but_the_next_does(clock: Clock, alarms: CoarseTimers) -> None:
    first, second, third = (Waiting(clock) for _ in range(3))
    for seconds, waiting in ((1, first), (1, second), (2, third)):
        alarms.start(waiting, seconds)
    alarms.cancel(second)
    clock.pump([0.25] * 10)
    assert (first.ends, second.ends, third.ends) == ([1], [], [2])
    assert clock.getDelayedCalls() == []


def test_timeout_can_be_started_and_cancelled_during_a_callback(clock: Clock, alarms: CoarseTimers) -> None:
    late = Waiting(clock)

    class Eager(Waiting):
        def expire(self) -> None:
            super().expire()
            alarms.cancel(self)
            alarms.start(late, 1)

    alarms.start(Eager(clock), 1)
    clock.pump([0.25] * 12)
    assert late.ends == [2]


def test_timeout_started_during_a_callback_does_not_delay_the_next(clock: Clock, alarms: CoarseTimers) -> None:
    late, next_one = Waiting(clock), Waiting(clock)

    class Eager(Waiting):
        def expire(self) -> None:
            alarms.start(late, 5)

    alarms.start(Eager(clock), 1)
    alarms.start(next_one, 2)
    clock.pump([0.25] * 30)
    assert (next_one.ends, late.ends) == ([2], [6])


def test_cancelled_timeouts_leave_only_future_steps_behind(clock: Clock, alarms: CoarseTimers) -> None:
    alarms.start(Waiting(clock), 1)
    for _ in range(100):
        gone = Waiting(clock)
        alarms.start(gone, 10)
        alarms.cancel(gone)
    assert len(alarms._steps) == len(alarms._by_step) == 2
    clock.advance(1)
    assert (alarms._steps, alarms._by_step, clock.getDelayedCalls()) == ([], {}, [])


def test_failing_callback_is_logged_and_others_still_expire(
    clock: Clock, alarms: CoarseTimers, expected_failures: list[LogEvent]
) -> None:
    class Broken(Waiting):
        def expire(self) -> None:
            raise RuntimeError("broken")

    waiting = Waiting(clock)
    alarms.start(Broken(clock), 1)
    alarms.start(waiting, 1)
    alarms.start(late := Waiting(clock), 2)
    clock.pump([1, 1])
    assert (waiting.ends, late.ends) == ([1], [2])
    assert [event["log_failure"].type for event in expected_failures] == [RuntimeError]
