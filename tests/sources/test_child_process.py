"""A child process, driven by the calls that Twisted makes: flow control and termination."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from pushd.sources.child_process import ChildProcess
from tests.sources.source_harness import LogCapture


class Pipes:
    """A fake process transport that records calls."""

    def __init__(self, ignored_signals: tuple[str, ...] = ()) -> None:
        self.process: Any = None
        self.ignored_signals = ignored_signals
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
        if name not in self.ignored_signals:
            exit(self.process, signal=15 if name == "TERM" else 9)


def start(ignored_signals: tuple[str, ...] = (), limit: int = 100) -> tuple[ChildProcess, Pipes, Clock]:
    clock, pipes = Clock(), Pipes(ignored_signals)
    pipes.process = process = ChildProcess(clock, "source x", "prog", limit)
    process.makeConnection(pipes)
    return process, pipes, clock


def exit(process: ChildProcess, status: int = 0, signal: int | None = None) -> None:
    reason = ProcessTerminated(status, signal) if status or signal else ProcessDone(0)
    process.processExited(Failure(reason))


def close_pipes(process: ChildProcess) -> None:
    process.processEnded(Failure(ProcessDone(0)))


def read_lines(process: ChildProcess) -> list[Any]:
    """Await lines; return a list that receives the result."""
    answers: list[Any] = []
    Deferred.fromCoroutine(process.lines()).addCallback(
        lambda lines: answers.append([line.data for line in lines])
    ).addErrback(answers.append)
    return answers


def stop(process: ChildProcess) -> list[Any]:
    results: list[Any] = []
    Deferred.fromCoroutine(process.stop()).addBoth(results.append)
    return results


def test_output_is_read_only_while_lines_are_awaited():
    process, pipes, _ = start()
    first = read_lines(process)
    process.outReceived(b"a\nb\nc")
    assert first == [[b"a", b"b"]]
    assert not pipes.reading
    second = read_lines(process)
    assert pipes.reading
    process.outReceived(b"d")
    assert pipes.reading
    assert second == []
    process.outReceived(b"\n")
    assert second == [[b"cd"]]
    assert not pipes.reading


def test_unawaited_output_is_kept_and_reading_is_paused():
    process, pipes, _ = start()
    process.outReceived(b"a\n")
    assert not pipes.reading
    process.outReceived(b"b\n")
    assert read_lines(process) == [[b"a", b"b"]]
    assert not pipes.reading


def test_last_lines_precede_the_end_even_unterminated():
    process, _, clock = start()
    exit(process)
    process.outReceived(b"a\nb")
    close_pipes(process)
    assert read_lines(process) == [[b"a", b"b"]]
    assert read_lines(process) == [[]]
    assert not clock.getDelayedCalls()


def test_exit_wakes_a_waiting_reader():
    process, _, _ = start()
    waiting = read_lines(process)
    exit(process, status=3)
    assert waiting == []
    close_pipes(process)
    assert waiting == [[]]
    assert process.outcome == "exited with status 3"


@pytest.mark.parametrize(
    ("status", "signal", "outcome"),
    [(0, None, "exited with status 0"), (7, None, "exited with status 7"), (None, 9, "was terminated by signal 9")],
)
def test_outcome_describes_the_exit(status, signal, outcome):
    process, _, _ = start()
    assert process.outcome == ""
    exit(process, status, signal)
    assert process.outcome == outcome


def test_pipe_kept_open_by_a_child_is_closed():
    process, pipes, clock = start()
    exit(process)
    waiting = read_lines(process)
    process.outReceived(b"from a child\n")
    assert waiting == [[b"from a child"]]
    clock.advance(2.0)
    assert not pipes.closed, "the lines have not been consumed yet"
    read_lines(process)
    clock.advance(2.0)
    assert pipes.closed
    close_pipes(process)
    assert not clock.getDelayedCalls()


def test_stop_sends_sigterm():
    process, pipes, clock = start()
    results = stop(process)
    assert pipes.signals == ["TERM"]
    assert results == [None]
    assert pipes.closed
    assert not clock.getDelayedCalls()


def test_process_is_killed_two_seconds_after_sigterm():
    process, pipes, clock = start(ignored_signals=("TERM",))
    results = stop(process)
    clock.advance(1.9)
    assert pipes.signals == ["TERM"]
    assert results == []
    clock.advance(0.1)
    assert pipes.signals == ["TERM", "KILL"]
    assert results == [None]
    assert not clock.getDelayedCalls()


def test_unkillable_process_is_logged_and_abandoned():
    process, pipes, clock = start(ignored_signals=("TERM", "KILL"))
    with LogCapture() as log:
        results = stop(process)
        clock.pump([1.0] * 3)
    assert results == [None]
    assert pipes.closed
    assert log.lines == ["source x: prog does not exit after SIGKILL: it is abandoned"]


@pytest.mark.parametrize("error", [ProcessExitedAlready(), PermissionError()])
def test_failure_to_signal_is_ignored(error, monkeypatch):
    process, pipes, clock = start()

    def signal(name: str) -> None:
        raise error

    monkeypatch.setattr(pipes, "signalProcess", signal)
    results = stop(process)
    exit(process)
    assert results == [None]
    assert pipes.closed
    assert not clock.getDelayedCalls()


def test_output_while_stopping_is_discarded():
    process, pipes, clock = start(ignored_signals=("TERM", "KILL"))
    process.outReceived(b"a\n")
    assert not pipes.reading
    stop(process)
    assert pipes.reading
    process.outReceived(b"b\n" * 1000)
    assert pipes.reading
    assert len(process._lines) == 1
    clock.pump([1.0] * 3)


def test_stop_after_the_exit_sends_no_signal():
    process, pipes, _ = start()
    exit(process)
    close_pipes(process)
    assert stop(process) == [None]
    assert pipes.signals == []


def test_stderr_is_logged_line_by_line():
    process, _, _ = start()
    with LogCapture() as log:
        process.errReceived(b"first {x}\nsec")
        process.errReceived(b"ond \xff\nlast")
        exit(process)
        close_pipes(process)
    assert log.lines == [f"source x: prog: {line}" for line in ("first {x}", "second �", "last")]


def test_at_most_fifty_stderr_lines_per_second_are_logged():
    process, _, clock = start()
    with LogCapture() as log:
        process.errReceived(b"x\n" * 1000)
        clock.advance(1.0)
        process.errReceived(b"y\n")
        process.errReceived(b"z\n" * 60)
        exit(process)
        close_pipes(process)
    assert log.lines[49:52] == [
        "source x: prog: x",
        "source x: prog: 950 more lines suppressed in that second",
        "source x: prog: y",
    ]
    assert log.lines[-1] == "source x: prog: 11 more lines suppressed in that second"
    assert len(log.lines) == 50 + 1 + 50 + 1


def test_stderr_line_is_truncated_at_1000_bytes():
    process, _, _ = start()
    with LogCapture() as log:
        process.errReceived(b"x" * 5000 + b"\n")
    assert log.lines == ["source x: prog: " + "x" * 1000]
