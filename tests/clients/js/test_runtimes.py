"""The client in Node.js, Deno and Bun: the same program over each transport, while the daemon restarts."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.browser.daemon import Daemon
from tests.clients.js.test_cuts import TRANSPORTS
from tests.daemon.real import ROOT
from tests.programs import find_client_node, find_javascript_runtime

pytestmark = [pytest.mark.system, pytest.mark.slow]

PROGRAM = Path(__file__).parent / "runtimes.mjs"
QUIET = {"DENO_NO_UPDATE_CHECK": "1", "DO_NOT_TRACK": "1"}
"""No requests but those of the program."""
DENO_OPTIONS = ("--no-remote", "--no-lock", "--allow-net=127.0.0.1", "--allow-read")
NUMBERS = 20
EXIT_SECONDS = 6.0
"""In which a runtime ends when the client is closed: before any timer that the client may have left."""


def command(runtime: str) -> list[str]:
    """Return the command that runs a program in a runtime."""
    if runtime == "node":
        return [find_client_node()[0]]
    return [str(find_javascript_runtime(runtime)), "run", *(DENO_OPTIONS if runtime == "deno" else ())]


class Program:
    """The program, which runs over one transport."""

    def __init__(self, runtime: str, transport: str, daemon: Daemon, folder: Path) -> None:
        self.channel = f"{runtime}/{transport}"
        self._process = subprocess.Popen(
            [*command(runtime), str(PROGRAM), daemon.url, transport, self.channel],
            env=os.environ | QUIET | {"HOME": str(folder), "DENO_DIR": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_until_subscribed(self) -> None:
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "subscribed\n":
            pytest.fail(self._process.communicate(timeout=EXIT_SECONDS)[1])

    def result(self) -> object:
        """Return what it has printed, when it has ended."""
        assert self._process.stdout is not None
        printed = self._process.stdout.readline()
        _, errors = self._process.communicate(timeout=EXIT_SECONDS)
        assert self._process.returncode == 0, errors
        return json.loads(printed)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def durable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that keeps its history when it restarts."""
    folder = tmp_path_factory.mktemp("durable")
    daemon = Daemon(folder, f'[backend]\ndata_dir = "{folder / "data"}"\n').start()
    yield daemon
    daemon.stop()


@pytest.mark.parametrize("runtime", ["node", "deno", "bun"])
def test_clients_resume_after_a_restart(durable: Daemon, tmp_path: Path, runtime: str) -> None:
    with ExitStack() as started:
        programs = [Program(runtime, transport, durable, tmp_path) for transport in TRANSPORTS]
        for program in programs:
            started.callback(program.kill)
        for program in programs:
            program.wait_until_subscribed()
        for number in range(NUMBERS):
            if number == NUMBERS // 2:
                durable.stop()
                durable.start()
            for program in programs:
                durable.publish(program.channel, str(number), "application/json")
        results = [program.result() for program in programs]
    assert results == [{"numbers": list(range(NUMBERS)), "gaps": []}] * len(TRANSPORTS)


@pytest.mark.parametrize("runtime", ["deno", "bun"])
def test_documentation_names_the_version_that_is_tested(runtime: str) -> None:
    path = find_javascript_runtime(runtime)
    shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"\d+\.\d+\.\d+", shown)
    assert version
    assert f"{runtime.title()} {version[0]}" in (ROOT / "docs/javascript.md").read_text(encoding="utf-8")
