"""A program that runs, told by the calls that Twisted makes: who waits for whom, and how it ends."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from pushd.sources.program import Program
from tests.sources.stage import Log


class Pipes:
    """The transport of a process, and what was done to it."""

    def __init__(self, deaf: tuple[str, ...] = ()) -> None:
        self.program: Any = None
        self.deaf = deaf
        self.reading = True
        self.closed = False
        self.signals: list[str] = []

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True

    def loseConnection(self) -> None:
        self.closed = True

    def signalProcess(self, name: str) -> None:
        self.signals.append(name)
        if name not in self.deaf:
            exited(self.program, signal=15 if name == "TERM" else 9)


def started(deaf: tuple[str, ...] = (), limit: int = 100) -> tuple[Program, Pipes, Clock]:
    clock, pipes = Clock(), Pipes(deaf)
    pipes.program = program = Program(clock, "source x", "prog", limit)
    program.makeConnection(pipes)
    return program, pipes, clock


def exited(program: Program, status: int = 0, signal: int | None = None) -> None:
    end = ProcessTerminated(status, signal) if status or signal else ProcessDone(0)
    program.processExited(Failure(end))


def ended(program: Program) -> None:
    program.processEnded(Failure(ProcessDone(0)))


def read(program: Program) -> list[Any]:
    """Ask for lines; what comes is put into the list that is given."""
    answers: list[Any] = []
    Deferred.fromCoroutine(program.lines()).addCallback(
        lambda lines: answers.append([line.data for line in lines])
    ).addErrback(answers.append)
    return answers


def stopped(program: Program) -> list[Any]:
    results: list[Any] = []
    Deferred.fromCoroutine(program.stop()).addBoth(results.append)
    return results


def test_it_is_read_only_while_somebody_waits_for_lines():
    program, pipes, _ = started()
    first = read(program)
    program.outReceived(b"a\nb\nc")
    assert first == [[b"a", b"b"]]
    assert not pipes.reading
    second = read(program)
    assert pipes.reading
    program.outReceived(b"d")
    assert pipes.reading
    assert second == []
    program.outReceived(b"\n")
    assert second == [[b"cd"]]
    assert not pipes.reading


def test_what_comes_while_nobody_waits_is_held_and_no_more_is_read():
    program, pipes, _ = started()
    program.outReceived(b"a\n")
    assert not pipes.reading
    program.outReceived(b"b\n")
    assert read(program) == [[b"a", b"b"]]
    assert not pipes.reading


def test_the_last_lines_come_before_the_end_also_one_without_an_end():
    program, _, clock = started()
    exited(program)
    program.outReceived(b"a\nb")
    ended(program)
    assert read(program) == [[b"a", b"b"]]
    assert read(program) == [[]]
    assert not clock.getDelayedCalls()


def test_an_end_wakes_who_waits():
    program, _, _ = started()
    waiting = read(program)
    exited(program, status=3)
    assert waiting == []
    ended(program)
    assert waiting == [[]]
    assert program.how == "exited with status 3"


@pytest.mark.parametrize(
    ("status", "signal", "how"),
    [(0, None, "exited with status 0"), (7, None, "exited with status 7"), (None, 9, "was ended by signal 9")],
)
def test_how_it_ended_is_told(status, signal, how):
    program, _, _ = started()
    assert program.how == ""
    exited(program, status, signal)
    assert program.how == how


def test_a_pipe_that_another_program_keeps_open_is_given_up():
    program, pipes, clock = started()
    exited(program)
    waiting = read(program)
    program.outReceived(b"from a child\n")
    assert waiting == [[b"from a child"]]
    clock.advance(2.0)
    assert not pipes.closed, "nobody had the time to read"
    read(program)
    clock.advance(2.0)
    assert pipes.closed
    ended(program)
    assert not clock.getDelayedCalls()


def test_a_stop_tells_the_program_to_end():
    program, pipes, clock = started()
    results = stopped(program)
    assert pipes.signals == ["TERM"]
    assert results == [None]
    assert pipes.closed
    assert not clock.getDelayedCalls()


def test_a_program_that_does_not_end_is_killed_after_two_seconds():
    program, pipes, clock = started(deaf=("TERM",))
    results = stopped(program)
    clock.advance(1.9)
    assert pipes.signals == ["TERM"]
    assert results == []
    clock.advance(0.1)
    assert pipes.signals == ["TERM", "KILL"]
    assert results == [None]
    assert not clock.getDelayedCalls()


def test_a_program_that_can_not_be_killed_is_told_to_the_log_and_left():
    program, pipes, clock = started(deaf=("TERM", "KILL"))
    with Log() as log:
        results = stopped(program)
        clock.pump([1.0] * 3)
    assert results == [None]
    assert pipes.closed
    assert log.lines == ["source x: prog can not be killed"]


@pytest.mark.parametrize("error", [ProcessExitedAlready(), PermissionError()])
def test_a_signal_that_does_not_arrive_breaks_nothing(error, monkeypatch):
    program, pipes, clock = started()

    def signal(name: str) -> None:
        raise error

    monkeypatch.setattr(pipes, "signalProcess", signal)
    results = stopped(program)
    exited(program)
    assert results == [None]
    assert pipes.closed
    assert not clock.getDelayedCalls()


def test_what_it_prints_while_it_is_stopped_is_read_and_forgotten():
    program, pipes, clock = started(deaf=("TERM", "KILL"))
    program.outReceived(b"a\n")
    assert not pipes.reading
    stopped(program)
    assert pipes.reading
    program.outReceived(b"b\n" * 1000)
    assert pipes.reading
    assert len(program._held) == 1
    clock.pump([1.0] * 3)


def test_a_stop_after_the_end_signals_nobody():
    program, pipes, _ = started()
    exited(program)
    ended(program)
    assert stopped(program) == [None]
    assert pipes.signals == []


def test_complaints_are_logged_line_by_line_the_last_one_at_the_end():
    program, _, _ = started()
    with Log() as log:
        program.errReceived(b"first {x}\nsec")
        program.errReceived(b"ond \xff\nlast")
        exited(program)
        ended(program)
    assert log.lines == [f"source x: prog: {line}" for line in ("first {x}", "second �", "last")]


def test_no_more_than_fifty_complaints_a_second_are_logged():
    program, _, clock = started()
    with Log() as log:
        program.errReceived(b"x\n" * 1000)
        clock.advance(1.0)
        program.errReceived(b"y\n")
        program.errReceived(b"z\n" * 60)
        exited(program)
        ended(program)
    assert log.lines[49:52] == [
        "source x: prog: x",
        "source x: prog: 950 more lines in that second",
        "source x: prog: y",
    ]
    assert log.lines[-1] == "source x: prog: 11 more lines in that second"
    assert len(log.lines) == 50 + 1 + 50 + 1


def test_a_complaint_is_cut_off_at_a_thousand_bytes():
    program, _, _ = started()
    with Log() as log:
        program.errReceived(b"x" * 5000 + b"\n")
    assert log.lines == ["source x: prog: " + "x" * 1000]
