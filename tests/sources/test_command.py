"""The source `command`, with a fake reactor and with real programs."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ProcessDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from pushd.sources import child_process
from pushd.sources.command import CommandRunner
from pushd.sources.supervision import SupervisedSource
from tests.sources.source_harness import LogCapture, SourceHarness, until
from tests.sources.test_child_process import Pipes


class Spawner(Clock):
    """A reactor that records process starts."""

    def __init__(self) -> None:
        super().__init__()
        self.programs: list[Any] = []
        self.starts: list[tuple[Any, ...]] = []
        self.pipes: list[Pipes] = []

    def spawnProcess(self, program: Any, path: str, argv: Any, environ: Any, *, childFDs: Any) -> None:
        pipes = Pipes()
        pipes.process = program
        self.programs.append(program)
        self.pipes.append(pipes)
        self.starts.append((path, argv, environ, childFDs))
        program.makeConnection(pipes)

    def end(self, *output: bytes) -> None:
        """Output data from the newest program, and end it."""
        program = self.programs[-1]
        for data in output:
            program.outReceived(data)
        program.processExited(Failure(ProcessDone(0)))
        program.processEnded(Failure(ProcessDone(0)))


def command(
    harness: SourceHarness, *argv: str, restart: bool = True, content_type: str | None = None, **environ: str
) -> CommandRunner:
    environ.setdefault("PATH", os.environ["PATH"])
    return CommandRunner(harness.publisher, harness.clock, argv, restart, content_type, environ, lambda: 0.5)


def run(source: CommandRunner) -> Deferred[None]:
    return Deferred.fromCoroutine(source.run()).addErrback(lambda _: None)


def test_lines_are_published():
    harness = SourceHarness(Spawner())
    running = run(command(harness, "true"))
    harness.clock.programs[0].outReceived(b"one\ntw")
    harness.clock.programs[0].outReceived(b"o\n")
    assert harness.texts == ["one", "two"]
    assert {message.content_type for message in harness.messages} == {"text/plain; charset=utf-8"}
    running.cancel()
    assert harness.clock.pipes[0].signals == ["TERM"]


def test_program_gets_its_arguments_no_stdin_and_no_pushd_variables():
    harness = SourceHarness(Spawner())
    run(command(harness, "sh", "-c", "echo $X; *", X="1", PUSHD_AUTH_SECRET="s")).cancel()
    ((path, argv, environ, fds),) = harness.clock.starts
    assert path.endswith("/sh")
    assert argv == ("sh", "-c", "echo $X; *")
    assert environ == {"X": "1", "PATH": os.environ["PATH"]}
    assert fds[1] == fds[2] == "r"


def test_content_type_is_applied_and_invalid_lines_are_skipped():
    harness = SourceHarness(Spawner())
    running = run(command(harness, "true", content_type="application/json"))
    harness.clock.programs[0].outReceived(b'{"a":1}\nno json\n[2]\n')
    assert [(message.content_type, message.data) for message in harness.messages] == [
        ("application/json", b'{"a":1}'),
        ("application/json", b"[2]"),
    ]
    running.cancel()


def test_exited_program_is_restarted_with_backoff():
    harness = SourceHarness(Spawner())
    with LogCapture() as log:
        running = run(command(harness, "true"))
        for wait in (1, 2, 4):
            harness.clock.end(b"x\n")
            runs = len(harness.clock.programs)
            harness.clock.advance(wait - 0.1)
            assert len(harness.clock.programs) == runs
            harness.clock.advance(0.1)
            assert len(harness.clock.programs) == runs + 1
        harness.clock.advance(60.0)
        harness.clock.end()
        harness.clock.advance(1.0)
        assert len(harness.clock.programs) == 5
        harness.clock.end()
    assert harness.texts == ["x"] * 3
    assert [line.rpartition(", ")[2] for line in log.lines] == [f"restarting in {wait}.0 s" for wait in (1, 2, 4, 1, 2)]
    assert log.lines[0] == "source x: true exited with status 0, restarting in 1.0 s"
    running.cancel()


def test_program_is_not_restarted_if_disabled():
    harness = SourceHarness(Spawner())
    with LogCapture() as log:
        running = run(command(harness, "true", restart=False))
        harness.clock.end(b"last")
    assert harness.texts == ["last"]
    assert running.called
    assert log.lines == ["source x: true exited with status 0"]
    assert not harness.clock.getDelayedCalls()


def test_missing_program_is_retried(tmp_path):
    harness = SourceHarness(Spawner())
    with LogCapture() as log:
        running = run(command(harness, "grok", PATH=str(tmp_path)))
        assert log.lines == ["source x: grok cannot be found or executed, restarting in 1.0 s"]
        (tmp_path / "grok").touch(mode=0o755)
        harness.clock.advance(1.0)
        assert harness.clock.starts[0][0] == str(tmp_path / "grok")
    running.cancel()


def test_long_lines_are_truncated_counted_and_logged_once():
    harness = SourceHarness(Spawner(), limit=4)
    with LogCapture() as log:
        running = run(command(harness, "true"))
        harness.clock.programs[0].outReceived(b"12345\n1234\n")
        harness.clock.programs[0].outReceived(b"123456\n")
    assert harness.texts == ["1234", "1234", "1234"]
    assert harness.counters.refusals == {"line-too-long": 2}
    assert log.lines == ["source x: true prints lines longer than 4 bytes: they are truncated"]
    running.cancel()


def test_burst_is_published_in_slices_while_reading_is_paused():
    harness = SourceHarness(Spawner())
    running = run(command(harness, "true"))
    harness.clock.programs[0].outReceived(b"x\n" * 4096)
    assert 0 < len(harness.messages) < 1000
    assert not harness.clock.pipes[0].reading
    for _ in range(20):
        harness.clock.advance(0)
    assert len(harness.messages) == 4096
    assert harness.clock.pipes[0].reading
    running.cancel()


def test_failed_process_start_is_retried_by_the_supervisor(expected_failures):
    harness = SourceHarness(Spawner())
    tries = []

    def fail(*_: object, **__: object) -> None:
        tries.append(harness.clock.seconds())
        raise BlockingIOError("no more processes")

    harness.clock.spawnProcess = fail
    service = SupervisedSource("source x", command(harness, "true"), harness.clock)
    service.startService()
    harness.clock.advance(1.2)
    assert len(tries) == 2
    service.stopService()


def open_files() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


# With real programs


def script(tmp_path: Path, text: str) -> tuple[str, ...]:
    file = tmp_path / "program.py"
    file.write_text(text, encoding="utf-8")
    return (sys.executable, "-u", str(file))


@pytest.fixture
def harness() -> SourceHarness:
    from twisted.internet import reactor

    return SourceHarness(reactor)


async def test_real_program_with_stdout_stderr_and_exit_status(harness, tmp_path):
    argv = script(
        tmp_path,
        "import os, sys\n"
        "print('in:', repr(sys.stdin.read()))\n"
        "print('secret:', os.environ.get('PUSHD_X'), os.environ['Y'])\n"
        "print('complaint', file=sys.stderr)\n"
        "print('é', end='')\n"
        "sys.exit(3)\n",
    )
    before = open_files()
    with LogCapture() as log:
        await command(harness, *argv, restart=False, PUSHD_X="1", Y="2").run()
    assert harness.texts == ["in: ''", "secret: None 2", "é"]
    assert [line.rpartition(": ")[2] for line in log.lines] == [
        "complaint",
        f"{sys.executable} exited with status 3",
    ]
    assert open_files() == before


async def test_real_burst_arrives_complete_and_in_order(harness, tmp_path):
    argv = script(tmp_path, "for n in range(50000): print(n)\n")
    with LogCapture():
        await command(harness, *argv, restart=False).run()
    assert harness.texts == [str(number) for number in range(50000)]


async def test_real_flood_does_not_block_the_reactor(harness):
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    service = SupervisedSource("source x", command(harness, "yes", "flood"), reactor)
    service.startService()
    await until(lambda: harness.counters.published, "the first line")
    gaps = []
    for _ in range(100):
        began = reactor.seconds()
        await deferLater(reactor, 0.001)
        gaps.append(reactor.seconds() - began)
    await until(lambda: harness.counters.published > 1000, "many lines")
    await maybeDeferred(service.stopService)
    assert sorted(gaps)[50] < 0.3


async def test_real_program_ends_with_the_source(harness, tmp_path, monkeypatch):
    monkeypatch.setattr(child_process, "_TERM_SECONDS", 50.0)
    argv = script(tmp_path, "import os, time\nprint(os.getpid())\ntime.sleep(60)\n")
    service = SupervisedSource("source x", command(harness, *argv), harness.clock)
    service.startService()
    await until(lambda: harness.texts, "the pid")
    pid = int(harness.texts[0])
    os.kill(pid, 0)
    began = harness.clock.seconds()
    await maybeDeferred(service.stopService)
    assert harness.clock.seconds() - began < 30, "it is not killed"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_real_program_that_ignores_sigterm_is_killed(harness, tmp_path):
    argv = script(
        tmp_path,
        "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(os.getpid())\ntime.sleep(60)\n",
    )
    service = SupervisedSource("source x", command(harness, *argv), harness.clock)
    service.startService()
    await until(lambda: harness.texts, "the pid")
    began = harness.clock.seconds()
    await maybeDeferred(service.stopService)
    assert harness.clock.seconds() - began > 1.9
    with pytest.raises(ProcessLookupError):
        os.kill(int(harness.texts[0]), 0)


async def test_real_program_with_a_background_child_has_ended(harness, tmp_path):
    argv = ("sh", "-c", "sleep 40 & echo done")
    began = harness.clock.seconds()
    with LogCapture():
        await command(harness, *argv, restart=False).run()
    assert harness.texts == ["done"]
    assert harness.clock.seconds() - began < 30
