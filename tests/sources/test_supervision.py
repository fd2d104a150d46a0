"""The life of a source: what breaks is tried again later, what stops leaves nothing behind."""

from collections.abc import Callable

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from pushd.sources.supervision import Backoff, Interval, SupervisedSource
from tests.sources.source_harness import LogCapture


class ScriptedSource:
    """A source that does the next thing of a list in each run."""

    def __init__(self, *steps: Callable[[], Deferred[None] | None]) -> None:
        self.steps = list(steps)
        self.runs = 0

    async def run(self) -> None:
        self.runs += 1
        waiting = self.steps.pop(0)()
        if waiting is not None:
            await waiting


def fail() -> None:
    raise ValueError("boom")


def result_of_stop(stopping: Deferred[None]) -> list[object]:
    """What comes of a stop, once it does."""
    results: list[object] = []
    stopping.addBoth(results.append)
    return results


def start(clock: Clock, runner: object) -> SupervisedSource:
    made = SupervisedSource("source x", runner, clock)
    made.startService()
    return made


@pytest.mark.parametrize(("chance", "share"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
def test_waits_double_up_to_a_minute_give_or_take_a_fifth(chance, share):
    backoff = Backoff(Clock(), lambda: chance)
    waits = [backoff.attempt_ended() for _ in range(9)]
    assert waits == pytest.approx([share * step for step in (1, 2, 4, 8, 16, 32, 60, 60, 60)])


def test_what_ran_for_a_minute_waits_but_a_second_again():
    clock = Clock()
    backoff = Backoff(clock, lambda: 0.5)
    for ran, wait in ((0, 1), (59.9, 2), (60, 1), (0, 2)):
        backoff.attempt_started()
        clock.advance(ran)
        assert backoff.attempt_ended() == wait


def test_beats_come_at_even_intervals_and_those_missed_are_left_out():
    clock, times = Clock(), []

    async def collect() -> None:
        interval = Interval(clock, 1.0)
        for work in (0.25, 0.0, 2.5, 0.0):
            await interval.wait()
            times.append(clock.seconds())
            await deferLater(clock, work)

    collecting = Deferred.fromCoroutine(collect())
    clock.pump([0.125] * 64)
    assert collecting.called
    assert times == [1, 2, 3, 6]


def test_a_source_that_breaks_is_logged_with_its_traceback_and_runs_again(expected_failures):
    clock, never = Clock(), Deferred()
    source = ScriptedSource(fail, fail, lambda: never)
    with LogCapture() as log:
        running = start(clock, source)
        assert source.runs == 1
        clock.advance(1.2)
        assert source.runs == 2
        clock.advance(1.5)
        assert source.runs == 2
        clock.advance(0.9)
        assert source.runs == 3
    assert [event["log_failure"].getErrorMessage() for event in expected_failures] == ["boom", "boom"]
    assert "source x: broke, again in " in log.lines[0]
    running.stopService()


def test_a_source_that_is_done_is_not_run_again():
    clock = Clock()
    source = ScriptedSource(lambda: None)
    running = start(clock, source)
    clock.advance(1000)
    assert source.runs == 1
    assert result_of_stop(running.stopService()) == [None]


def test_a_source_that_something_else_cancels_runs_again(expected_failures):
    clock, waiting, never = Clock(), Deferred(), Deferred()
    source = ScriptedSource(lambda: waiting, lambda: never)
    running = start(clock, source)
    waiting.cancel()
    clock.advance(1.2)
    assert source.runs == 2
    running.stopService()


def test_a_stop_ends_the_source_and_waits_until_it_has_left():
    clock, stopped_at = Clock(), []

    class SlowToStop:
        async def run(self) -> None:
            try:
                await Deferred()
            finally:
                await deferLater(clock, 2.0)
                stopped_at.append(clock.seconds())

    results = result_of_stop(start(clock, SlowToStop()).stopService())
    assert results == []
    clock.advance(2.0)
    assert results == [None]
    assert stopped_at == [2.0]
    assert not clock.getDelayedCalls()


def test_a_stop_while_it_waits_to_run_again_ends_the_wait(expected_failures):
    clock = Clock()
    running = start(clock, ScriptedSource(fail))
    assert result_of_stop(running.stopService()) == [None]
    assert not clock.getDelayedCalls()


def test_what_breaks_at_the_end_is_logged_and_stops_nothing(expected_failures):
    class FailsToStop:
        async def run(self) -> None:
            try:
                await Deferred()
            finally:
                raise ValueError("boom")

    with LogCapture() as log:
        assert result_of_stop(start(Clock(), FailsToStop()).stopService()) == [None]
    assert log.lines == ["source x: broke while it ended"]


def test_a_source_can_be_started_again():
    clock, source = Clock(), ScriptedSource(lambda: Deferred(), lambda: Deferred())
    running = start(clock, source)
    running.stopService()
    running.startService()
    assert source.runs == 2
    running.stopService()
