"""The life of a source: what breaks is tried again later, what stops leaves nothing behind."""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from pushd.sources.life import Backoff, Beat, Life, Runner
from tests.sources.stage import Log


class Script:
    """A source that does the next thing of a list in each run."""

    def __init__(self, *scenes: Callable[[], Deferred[None] | None]) -> None:
        self.scenes = list(scenes)
        self.runs = 0

    async def run(self) -> None:
        self.runs += 1
        waiting = self.scenes.pop(0)()
        if waiting is not None:
            await waiting


def breaks() -> None:
    raise ValueError("boom")


def ends(stopping: Deferred[Any] | None) -> list[object]:
    """What comes of a stop, once it does."""
    assert stopping is not None
    results: list[object] = []
    stopping.addBoth(results.append)
    return results


def life(clock: Clock, runner: Runner) -> Life:
    made = Life("source x", runner, clock)
    made.startService()
    return made


@pytest.mark.parametrize(("chance", "share"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
def test_waits_double_up_to_a_minute_give_or_take_a_fifth(chance, share):
    backoff = Backoff(Clock(), lambda: chance)
    waits = [backoff.ended() for _ in range(9)]
    assert waits == pytest.approx([share * step for step in (1, 2, 4, 8, 16, 32, 60, 60, 60)])


def test_what_ran_for_a_minute_waits_but_a_second_again():
    clock = Clock()
    backoff = Backoff(clock, lambda: 0.5)
    for ran, wait in ((0, 1), (59.9, 2), (60, 1), (0, 2)):
        backoff.begin()
        clock.advance(ran)
        assert backoff.ended() == wait


def test_beats_come_at_even_intervals_and_those_missed_are_left_out():
    clock, heard = Clock(), []

    async def listen() -> None:
        beat = Beat(clock, 1.0)
        for work in (0.25, 0.0, 2.5, 0.0):
            await beat.next()
            heard.append(clock.seconds())
            await deferLater(clock, work)

    listening = Deferred.fromCoroutine(listen())
    clock.pump([0.125] * 64)
    assert listening.called
    assert heard == [1, 2, 3, 6]


def test_a_source_that_breaks_is_logged_with_its_traceback_and_runs_again(expected_failures):
    clock, forever = Clock(), Deferred[None]()
    script = Script(breaks, breaks, lambda: forever)
    with Log() as log:
        running = life(clock, script)
        assert script.runs == 1
        clock.advance(1.2)
        assert script.runs == 2
        clock.advance(1.5)
        assert script.runs == 2
        clock.advance(0.9)
        assert script.runs == 3
    assert [event["log_failure"].getErrorMessage() for event in expected_failures] == ["boom", "boom"]
    assert "source x: broke, again in " in log.lines[0]
    running.stopService()


def test_a_source_that_is_done_is_not_run_again():
    clock = Clock()
    script = Script(lambda: None)
    running = life(clock, script)
    clock.advance(1000)
    assert script.runs == 1
    assert ends(running.stopService()) == [None]


def test_a_source_that_something_else_cancels_runs_again(expected_failures):
    clock, waiting, forever = Clock(), Deferred[None](), Deferred[None]()
    script = Script(lambda: waiting, lambda: forever)
    running = life(clock, script)
    waiting.cancel()
    clock.advance(1.2)
    assert script.runs == 2
    running.stopService()


def test_a_stop_ends_the_source_and_waits_until_it_has_left():
    clock, left = Clock(), []

    class Polite:
        async def run(self) -> None:
            try:
                await Deferred()
            finally:
                await deferLater(clock, 2.0)
                left.append(clock.seconds())

    results = ends(life(clock, Polite()).stopService())
    assert results == []
    clock.advance(2.0)
    assert results == [None]
    assert left == [2.0]
    assert not clock.getDelayedCalls()


def test_a_stop_while_it_waits_to_run_again_ends_the_wait(expected_failures):
    clock = Clock()
    running = life(clock, Script(breaks))
    assert ends(running.stopService()) == [None]
    assert not clock.getDelayedCalls()


def test_what_breaks_at_the_end_is_logged_and_stops_nothing(expected_failures):
    class Clumsy:
        async def run(self) -> None:
            try:
                await Deferred()
            finally:
                raise ValueError("boom")

    with Log() as log:
        assert ends(life(Clock(), Clumsy()).stopService()) == [None]
    assert log.lines == ["source x: broke while it ended"]


def test_a_source_can_be_started_again():
    clock, script = Clock(), Script(lambda: Deferred(), lambda: Deferred())
    running = life(clock, script)
    running.stopService()
    running.startService()
    assert script.runs == 2
    running.stopService()
