"""A shell that runs the commands of a page one after the other, and the programs that it leaves running."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.pages.sandbox import Sandbox

SECONDS: Final = 60.0
_DONE: Final = "the command has ended with status"


def until(condition: Callable[[], object], what: Callable[[], str], seconds: float = SECONDS) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.02)


class Background:
    """A program that goes on while the page continues. Its output is in a file."""

    def __init__(self, command: str, file: Path, pid: int, sandbox: Sandbox) -> None:
        self.command = command
        self._file = file
        self._sandbox = sandbox
        self._pid = pid

    @property
    def output(self) -> str:
        """What it has printed, with the ports and paths of the page."""
        return self._sandbox.documented(self._file.read_text(encoding="utf-8", errors="replace"))

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        status = Path(f"/proc/{self._pid}/stat")
        try:
            return status.read_text().rpartition(") ")[2][:1] not in ("Z", "X")
        except OSError:
            return False

    def wait_for(self, pattern: str) -> None:
        """Wait until it has printed a line that matches."""
        expected = re.compile(rf"^{pattern}\r?$", re.MULTILINE)
        until(
            lambda: expected.search(self.output) or not self.is_running,
            lambda: f"{self.command}: {pattern!r} is missing in\n{self.output}",
        )
        assert expected.search(self.output), f"{self.command}: {pattern!r} is missing in\n{self.output}"

    def stop(self) -> None:
        """End it, as Control-C does."""
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGTERM)
        until(lambda: not self.is_running, lambda: f"{self.command}: does not stop")


class Shell:
    """A shell in a sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.background: list[Background] = []
        self._started = 0
        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=sandbox.work,
            env=sandbox.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, command: str) -> tuple[str, int]:
        """Run a command; return its output, with the ports and paths of the page, and its exit status."""
        return self._run(f"{{ {self.sandbox.local(command)}\n}} </dev/null")

    def start(self, command: str) -> Background:
        """Run a command in the background."""
        self._started += 1
        file = self.sandbox.folder / f"output-{self._started}"
        file.touch()
        local = self.sandbox.local(re.sub(r"(\s#.*|&)$", "", command).strip())
        # `exec` makes the process id that of the program; a pipeline has no single one.
        prefix = "" if "|" in local else "exec "
        pid, _ = self._run(f"({prefix}{local}\n) </dev/null >{file} 2>&1 & echo $!")
        started = Background(command, file, int(pid.split()[-1]), self.sandbox)
        self.background.append(started)
        return started

    def _run(self, text: str) -> tuple[str, int]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{text}\nprintf '\\n%s %s\\n' '{_DONE}' $?\n")
        self._process.stdin.flush()
        output = ""
        while not output.rpartition("\n")[0].endswith("\n") or _DONE not in output:
            line = self._process.stdout.readline()
            assert line, output
            output += line
            if line.startswith(_DONE):
                break
        return self.sandbox.documented(output[: -len(line) - 1]), int(line.split()[-1])

    def close(self) -> None:
        """End the shell and everything that it has started."""
        for program in self.background:
            program.stop()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream
            stream.close()
