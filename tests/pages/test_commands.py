"""Every command of README and docs is run as it is printed there, and prints what the page shows."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.request import urlopen

import pytest

from tests.backends.redis_server import RedisServer
from tests.pages.blocks import ROOT, Command, blocks, commands, pages
from tests.pages.dialog import Dialog
from tests.pages.expectation import is_as_printed, pattern
from tests.pages.plan import MAKE, NOT_RUN, PLANS, Plan
from tests.pages.sandbox import Sandbox
from tests.pages.shell import Background, Shell, until
from tests.programs import find_program

pytestmark = pytest.mark.system

PAGES: Final = [page for page in pages() if any(commands(page))]
_DAEMON: Final = re.compile(r"make run\b|(\S*/)?twistd (?!.*--(check|help)\b)")
_ENDLESS: Final = re.compile(r".*&$|(\S*/)?pushctl sub (?!.*--count)|.*(curl -N|--watch|tail -F|--exec)")
_FAILURE: Final = re.compile(
    r'\A(pushctl|pushd): (?!configuration is valid)|^(\S+ \S+: refused: |\{.*"allow": false)', re.MULTILINE
)
_FIGURE: Final = re.compile(r"[-\d.,]*\d")
_FIGURES_ONLY: Final = "pushctl top"


def excuse(command: Command) -> str | None:
    """Return why a command is not run, if so."""
    found = [why for (page, begin), why in NOT_RUN.items() if (page, True) == _begins(command, begin)]
    return found[0] if found else None


def _begins(command: Command, begin: str) -> tuple[str, bool]:
    return command.block.page, bool(command.text) and command.text.startswith(begin)


class Reader:
    """Somebody who does what a page says."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.sandbox = Sandbox(folder)
        self.shell = Shell(self.sandbox)
        self._plan = plan
        self._daemons: dict[str, Background] = {}
        self._dialogs: list[Dialog] = []
        self._headings = [""]
        self._prepare("")
        if plan.daemon:
            self._start_daemon("twistd -n --pidfile= pushd")

    def do(self, command: Command) -> None:
        """Run a command as far as it goes."""
        if command.block.heading != self._headings[-1]:
            self._headings.append(command.block.heading)
            self._prepare(command.block.heading)
        if re.match(r"(telnet|nc) |$", command.text):
            text = command.text or f"nc localhost {8081}"
            self._dialogs.append(Dialog(command.place, text, command.output, self.sandbox))
        elif _DAEMON.match(command.text) and not _FAILURE.search(command.output):
            self._print_all(self._start_daemon(command.text), command)
        elif _ENDLESS.match(command.text):
            self._print_all(self._start(command.text), command)
        else:
            self._run(command)
        for dialog in self._dialogs:
            dialog.advance()

    def finish(self, page: str) -> None:
        """Check that everything has been received, and that what should be going on still is."""
        for dialog in self._dialogs:
            dialog.finish()
        for block in blocks(page, "text"):
            for line in filter(None, re.split(r"\n| {3,}", block.text)):
                self._wait_for(line)
        for program in self.shell.background:
            assert "Traceback" not in program.output, f"{program.command}: {program.output}"
        for daemon in self._daemons.values():
            assert daemon.is_running, daemon.output

    def _wait_for(self, line: str) -> None:
        expected = re.compile(rf"^{pattern(line)}\r?$", re.MULTILINE)
        until(lambda: expected.search(self._received()), lambda: f"nobody has received {line}")

    def _received(self) -> str:
        """Return everything that programs and dialogs have received."""
        return "\n".join([each.output for each in self.shell.background] + [each.output for each in self._dialogs])

    def close(self) -> None:
        """End everything."""
        for dialog in self._dialogs:
            dialog.close()
        self.shell.close()

    def _prepare(self, heading: str) -> None:
        if heading in self._plan.fresh:
            self.sandbox.restart()
            self.shell.run(f"cd {self.sandbox.work}")
        if heading in self._plan.stopped:
            self._daemons.pop("8080").stop()
        for where, command in self._plan.before:
            if where == heading and command.endswith("&"):
                self._start(command)
            elif where == heading:
                assert self.shell.run(command) == ("", 0)

    def _start_daemon(self, command: str) -> Background:
        """Start a daemon, instead of one that has its port."""
        found = re.search(r"--http tcp:(\d+)", command)
        port = found[1] if found else "8080"
        if before := self._daemons.pop(port, None):
            before.stop()
        daemon = self._daemons[port] = self.shell.start(command)
        daemon.wait_for(r".* pushd \S+ has started: .*")
        return daemon

    def _start(self, command: str) -> Background:
        """Start a program that goes on, and wait until it is connected."""
        before = self._connections()
        program = self.shell.start(command)
        until(
            lambda: "tail " in command or program.output or self._connections() > before,
            lambda: f"{command}: neither prints nor connects",
        )
        return program

    def _connections(self) -> int:
        """Return how many subscriptions the daemon has, or 0 if it does not say."""
        try:
            with urlopen(f"http://127.0.0.1:{self.sandbox.ports[8080]}/connections", timeout=5) as answer:
                return sum(bool(each["topics"]) for each in json.load(answer))
        except OSError:
            return 0

    def _print_all(self, program: Background, command: Command) -> None:
        for line in filter(None, command.output.splitlines()):
            program.wait_for(pattern(line))

    def _run(self, command: Command) -> None:
        output, status = self.shell.run(command.text)
        expected = bool(_FAILURE.search(command.output))
        assert bool(status) == expected, f"{command.place}: exit status {status}\n{output}"
        if command.text.startswith(_FIGURES_ONLY):
            assert {*shape(command.output)} <= {*shape(output)}, output
        elif command.output or command.block.language == "console":
            assert is_as_printed(output, command.output), f"{command.place}: prints\n{output}"


def shape(output: str) -> list[str]:
    """Return the lines without figures and repeated spaces."""
    return [re.sub(" +", " ", _FIGURE.sub("0", re.sub("-(?= |$)", "0", line))).strip() for line in output.splitlines()]


@pytest.fixture
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reader]:
    """Somebody who reads the page that the parameter names."""
    for program, package in (("curl", "curl"), ("nc", "netcat-openbsd"), ("telnet", "telnet")):
        find_program(program, package)
    plan = PLANS.get(request.param, Plan())
    reader = Reader(tmp_path, plan)
    redis = RedisServer(tmp_path / "redis", port=reader.sandbox.ports[6379]) if plan.redis else None
    try:
        if redis is not None:
            redis.start()
        yield reader
    finally:
        reader.close()
        if redis is not None:
            redis.kill()


@pytest.mark.parametrize(("reader", "page"), [(page, page) for page in PAGES], indirect=["reader"], ids=PAGES)
def test_commands_of_a_page_work(reader: Reader, page: str) -> None:
    for command in commands(page):
        if (why := excuse(command)) is None:
            reader.do(command)
        elif why == MAKE:
            target = command.text.split("#")[0]
            assert reader.shell.run(f"{target.replace('make', 'make -n', 1)} > plan")[1] == 0, command.place
    reader.finish(page)


def test_exceptions_are_of_commands_that_are_printed() -> None:
    printed = [command for page in PAGES for command in commands(page)]
    assert len(printed) > 80
    for page, begin in NOT_RUN:
        assert any(_begins(command, begin) == (page, True) for command in printed), (page, begin)
    assert PLANS.keys() <= set(PAGES)
    for page, plan in PLANS.items():
        headings = {"", *(command.block.heading for command in commands(page))}
        assert {*plan.fresh, *plan.stopped, *(where for where, _ in plan.before)} <= headings


def test_reasons_name_tests_that_exist() -> None:
    named = {path for why in NOT_RUN.values() for path in re.findall(r"tests/\S+\.py", why)}
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["docs/pushctl.md"], indirect=True)
def test_bench_has_the_documented_output(reader: Reader) -> None:
    (bench,) = [each for each in commands("docs/pushctl.md") if each.text.startswith("pushctl bench")]
    output, status = reader.shell.run(bench.text)
    assert status == 0, output
    figures = bench.output.partition("\n\n")[0]
    assert shape(output.partition("\n\n")[0])[1:] == shape(figures)[1:]
