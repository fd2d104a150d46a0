"""A program whose lines are messages: with a reactor that runs nothing, and with the real one."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ProcessDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from pushd.sources.command import Command
from pushd.sources.life import Life
from tests.sources.stage import Log, Stage, until
from tests.sources.test_program import Pipes


class Spawner(Clock):
    """A reactor that runs nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.programs: list[Any] = []
        self.starts: list[tuple[Any, ...]] = []
        self.pipes: list[Pipes] = []

    def spawnProcess(self, program: Any, path: str, argv: Any, environ: Any, *, childFDs: Any) -> None:
        pipes = Pipes()
        pipes.program = program
        self.programs.append(program)
        self.pipes.append(pipes)
        self.starts.append((path, argv, environ, childFDs))
        program.makeConnection(pipes)

    def end(self, *output: bytes) -> None:
        """Let the newest program print, and end."""
        program = self.programs[-1]
        for data in output:
            program.outReceived(data)
        program.processExited(Failure(ProcessDone(0)))
        program.processEnded(Failure(ProcessDone(0)))


def command(stage: Stage, *argv: str, restart: bool = True, content_type: str | None = None, **environ: str) -> Command:
    environ.setdefault("PATH", os.environ["PATH"])
    return Command(stage.publisher, stage.clock, argv, restart, content_type, environ, lambda: 0.5)


def run(source: Command) -> Deferred[None]:
    return Deferred.fromCoroutine(source.run()).addErrback(lambda _: None)


def test_each_line_is_a_message():
    stage = Stage(Spawner())
    running = run(command(stage, "true"))
    stage.clock.programs[0].outReceived(b"one\ntw")
    stage.clock.programs[0].outReceived(b"o\n")
    assert stage.texts == ["one", "two"]
    assert {message.content_type for message in stage.messages} == {"text/plain; charset=utf-8"}
    running.cancel()
    assert stage.clock.pipes[0].signals == ["TERM"]


def test_the_program_is_run_by_its_words_with_nothing_to_read_and_without_the_settings_of_the_daemon():
    stage = Stage(Spawner())
    run(command(stage, "sh", "-c", "echo $X; *", X="1", PUSHD_AUTH_SECRET="s")).cancel()
    ((path, argv, environ, fds),) = stage.clock.starts
    assert path.endswith("/sh")
    assert argv == ("sh", "-c", "echo $X; *")
    assert environ == {"X": "1", "PATH": os.environ["PATH"]}
    assert fds[1] == fds[2] == "r"


def test_lines_have_the_content_type_of_the_settings_and_one_that_has_not_is_left_out():
    stage = Stage(Spawner())
    running = run(command(stage, "true", content_type="application/json"))
    stage.clock.programs[0].outReceived(b'{"a":1}\nno json\n[2]\n')
    assert [(message.content_type, message.data) for message in stage.messages] == [
        ("application/json", b'{"a":1}'),
        ("application/json", b"[2]"),
    ]
    running.cancel()


def test_a_program_that_ends_is_run_again_later_and_later():
    stage = Stage(Spawner())
    with Log() as log:
        running = run(command(stage, "true"))
        for wait in (1, 2, 4):
            stage.clock.end(b"x\n")
            runs = len(stage.clock.programs)
            stage.clock.advance(wait - 0.1)
            assert len(stage.clock.programs) == runs
            stage.clock.advance(0.1)
            assert len(stage.clock.programs) == runs + 1
        stage.clock.advance(60.0)
        stage.clock.end()
        stage.clock.advance(1.0)
        assert len(stage.clock.programs) == 5
        stage.clock.end()
    assert stage.texts == ["x"] * 3
    assert [line.rpartition(", ")[2] for line in log.lines] == [f"again in {wait}.0 s" for wait in (1, 2, 4, 1, 2)]
    assert log.lines[0] == "source x: true exited with status 0, again in 1.0 s"
    running.cancel()


def test_a_program_is_not_run_again_where_that_is_not_wanted():
    stage = Stage(Spawner())
    with Log() as log:
        running = run(command(stage, "true", restart=False))
        stage.clock.end(b"last")
    assert stage.texts == ["last"]
    assert running.called
    assert log.lines == ["source x: true exited with status 0"]
    assert not stage.clock.getDelayedCalls()


def test_a_program_that_is_not_there_is_looked_for_again(tmp_path):
    stage = Stage(Spawner())
    with Log() as log:
        running = run(command(stage, "grok", PATH=str(tmp_path)))
        assert log.lines == ["source x: grok is not a program that can be run, again in 1.0 s"]
        (tmp_path / "grok").touch(mode=0o755)
        stage.clock.advance(1.0)
        assert stage.clock.starts[0][0] == str(tmp_path / "grok")
    running.cancel()


def test_long_lines_are_cut_off_and_counted_and_the_log_hears_of_the_first():
    stage = Stage(Spawner(), limit=4)
    with Log() as log:
        running = run(command(stage, "true"))
        stage.clock.programs[0].outReceived(b"12345\n1234\n")
        stage.clock.programs[0].outReceived(b"123456\n")
    assert stage.texts == ["1234", "1234", "1234"]
    assert stage.counters.refusals == {"line-too-long": 2}
    assert log.lines == ["source x: true prints lines longer than 4 bytes, which are cut off"]
    running.cancel()


def test_a_burst_is_published_in_slices_and_no_more_is_read_meanwhile():
    stage = Stage(Spawner())
    running = run(command(stage, "true"))
    stage.clock.programs[0].outReceived(b"x\n" * 4096)
    assert 0 < len(stage.messages) < 1000
    assert not stage.clock.pipes[0].reading
    for _ in range(20):
        stage.clock.advance(0)
    assert len(stage.messages) == 4096
    assert stage.clock.pipes[0].reading
    running.cancel()


def test_a_program_that_can_not_be_started_is_tried_again_by_the_life_of_the_source(expected_failures):
    stage = Stage(Spawner())
    tries = []

    def fail(*_: object, **__: object) -> None:
        tries.append(stage.clock.seconds())
        raise BlockingIOError("no more processes")

    stage.clock.spawnProcess = fail
    life = Life("source x", command(stage, "true"), stage.clock)
    life.startService()
    stage.clock.advance(1.2)
    assert len(tries) == 2
    life.stopService()


def open_files() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


# With real programs


def script(tmp_path: Path, text: str) -> tuple[str, ...]:
    file = tmp_path / "program.py"
    file.write_text(text, encoding="utf-8")
    return (sys.executable, "-u", str(file))


@pytest.fixture
def stage() -> Stage:
    from twisted.internet import reactor

    return Stage(reactor)


async def test_a_real_program_prints_complains_reads_nothing_and_ends(stage, tmp_path):
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
    with Log() as log:
        await command(stage, *argv, restart=False, PUSHD_X="1", Y="2").run()
    assert stage.texts == ["in: ''", "secret: None 2", "é"]
    assert [line.rpartition(": ")[2] for line in log.lines] == [
        "complaint",
        f"{sys.executable} exited with status 3",
    ]
    assert open_files() == before


async def test_a_real_burst_arrives_whole_and_in_order(stage, tmp_path):
    argv = script(tmp_path, "for n in range(50000): print(n)\n")
    with Log():
        await command(stage, *argv, restart=False).run()
    assert stage.texts == [str(number) for number in range(50000)]


async def test_a_real_flood_leaves_the_reactor_its_turns(stage):
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    life = Life("source x", command(stage, "yes", "flood"), reactor)
    life.startService()
    gaps = []
    for _ in range(100):
        began = reactor.seconds()
        await deferLater(reactor, 0.001)
        gaps.append(reactor.seconds() - began)
    assert stage.counters.published > 1000
    await maybeDeferred(life.stopService)
    assert sorted(gaps)[90] < 0.3


async def test_a_real_program_ends_with_the_source(stage, tmp_path):
    argv = script(tmp_path, "import os, time\nprint(os.getpid())\ntime.sleep(60)\n")
    life = Life("source x", command(stage, *argv), stage.clock)
    life.startService()
    await until(lambda: stage.texts, "the pid")
    pid = int(stage.texts[0])
    os.kill(pid, 0)
    began = stage.clock.seconds()
    await maybeDeferred(life.stopService)
    assert stage.clock.seconds() - began < 1.5
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_real_program_that_is_deaf_is_killed(stage, tmp_path):
    argv = script(
        tmp_path,
        "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(os.getpid())\ntime.sleep(60)\n",
    )
    life = Life("source x", command(stage, *argv), stage.clock)
    life.startService()
    await until(lambda: stage.texts, "the pid")
    began = stage.clock.seconds()
    await maybeDeferred(life.stopService)
    assert 1.9 < stage.clock.seconds() - began < 8
    with pytest.raises(ProcessLookupError):
        os.kill(int(stage.texts[0]), 0)


async def test_a_real_program_that_leaves_another_behind_has_ended(stage, tmp_path):
    argv = ("sh", "-c", "sleep 8 & echo done")
    began = stage.clock.seconds()
    with Log():
        await command(stage, *argv, restart=False).run()
    assert stage.texts == ["done"]
    assert stage.clock.seconds() - began < 7
