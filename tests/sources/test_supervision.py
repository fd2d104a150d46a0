"""Supervision: failures are retried with backoff, and a stopped source leaves nothing behind."""

from collections.abc import Callable

import pytest
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock, deferLater

from pushd.sources.supervision import Backoff, Interval, SourceRunner, SupervisedSource
from tests.sources.source_harness import LogCapture


class ScriptedSource:
    """A source that executes the next step of a script in each run."""

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


def result_of_stop(service: SupervisedSource) -> list[object]:
    """Stop a source; return a list that receives the result."""
    results: list[object] = []
    maybeDeferred(service.stopService).addBoth(results.append)
    return results


def start(clock: Clock, runner: SourceRunner) -> SupervisedSource:
    made = SupervisedSource("source x", runner, clock)
    made.startService()
    return made


@pytest.mark.parametrize(("jitter", "share"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
def test_backoff_doubles_up_to_a_minute_with_jitter(jitter, share):
    backoff = Backoff(Clock(), lambda: jitter)
    waits = [backoff.attempt_ended() for _ in range(9)]
    assert waits == pytest.approx([share * step for step in (1, 2, 4, 8, 16, 32, 60, 60, 60)])


def test_backoff_is_reset_after_a_minute_of_run_time():
    clock = Clock()
    backoff = Backoff(clock, lambda: 0.5)
    for ran, wait in ((0, 1), (59.9, 2), (60, 1), (0, 2)):
        backoff.attempt_started()
        clock.advance(ran)
        assert backoff.attempt_ended() == wait


def test_interval_is_even_and_missed_ticks_are_skipped():
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


def test_failed_source_is_logged_and_restarted(expected_failures):
    clock, never = Clock(), Deferred[None]()
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
    assert "source x failed: restarting in " in log.lines[0]
    running.stopService()


def test_finished_source_is_not_restarted():
    clock = Clock()
    source = ScriptedSource(lambda: None)
    running = start(clock, source)
    clock.advance(1000)
    assert source.runs == 1
    assert result_of_stop(running) == [None]


def test_source_cancelled_by_something_else_is_restarted(expected_failures):
    clock, waiting, never = Clock(), Deferred[None](), Deferred[None]()
    source = ScriptedSource(lambda: waiting, lambda: never)
    running = start(clock, source)
    waiting.cancel()
    clock.advance(1.2)
    assert source.runs == 2
    running.stopService()


def test_stop_waits_for_the_source_to_clean_up():
    clock, stopped_at = Clock(), []

    class SlowToStop:
        async def run(self) -> None:
            try:
                await Deferred()
            finally:
                await deferLater(clock, 2.0)
                stopped_at.append(clock.seconds())

    results = result_of_stop(start(clock, SlowToStop()))
    assert results == []
    clock.advance(2.0)
    assert results == [None]
    assert stopped_at == [2.0]
    assert not clock.getDelayedCalls()


def test_stop_during_backoff_ends_the_wait(expected_failures):
    clock = Clock()
    running = start(clock, ScriptedSource(fail))
    assert result_of_stop(running) == [None]
    assert not clock.getDelayedCalls()


def test_failure_while_stopping_is_logged(expected_failures):
    class FailsToStop:
        async def run(self) -> None:
            try:
                await Deferred()
            finally:
                raise ValueError("boom")

    with LogCapture() as log:
        assert result_of_stop(start(Clock(), FailsToStop())) == [None]
    assert log.lines == ["source x failed while stopping"]


def test_source_can_be_started_again():
    clock, source = Clock(), ScriptedSource(lambda: Deferred(), lambda: Deferred())
    running = start(clock, source)
    running.stopService()
    running.startService()
    assert source.runs == 2
    running.stopService()
