"""A dialog over TCP: the lines that a page shows are sent, or must be received."""

import re
import subprocess
import time
from pathlib import Path
from typing import Final

from pushd.wire import line_commands
from tests.pages.expectation import pattern
from tests.pages.sandbox import Sandbox
from tests.pages.shell import SECONDS

_VERBS: Final = {verb.decode() for verb in line_commands._PARSERS}
_ANSWERS: Final = ("INFO ", "+OK", "-ERR", "PONG")
_TOKEN: Final = re.compile(r"pushd_[\w-]{43}")
_REPLY: Final = re.compile(r"\$reply/\w+")


class Dialog:
    """What a person types into telnet or nc, and what the daemon answers."""

    def __init__(self, place: str, command: str, text: str, sandbox: Sandbox) -> None:
        self.place = place
        self._left = text.splitlines()
        self._received = ""
        self._sandbox = sandbox
        self._file = sandbox.folder / f"dialog-{time.monotonic_ns()}"
        with self._file.open("wb") as out:
            self._process = subprocess.Popen(
                sandbox.local(command).split(),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.DEVNULL,
                env=sandbox.environ,
                text=True,
            )

    @property
    def output(self) -> str:
        """What has been received, with the ports and paths of the page."""
        return self._sandbox.documented(self._file.read_text(encoding="utf-8", errors="replace"))

    def advance(self, seconds: float = 1.0) -> bool:
        """Go on as far as lines arrive within this time; return whether all have.

        The daemon answers a command at once: its answer is waited for as long as a busy machine may need.
        """
        begin = time.monotonic()
        while self._left:
            line = self._left[0]
            if line.partition(" ")[0] in _VERBS:
                self._send(line)
            elif not self._receive(line):
                if time.monotonic() > begin + (SECONDS if line.startswith(_ANSWERS) else seconds):
                    return False
                time.sleep(0.02)
                continue
            self._left.pop(0)
        return True

    def finish(self) -> None:
        """Wait for all lines, and hang up."""
        missing = "" if self.advance(SECONDS) else self._left[0]
        self.close()
        assert not missing, f"{self.place}: {missing!r} is missing; received {self.output}"

    def close(self) -> None:
        """Hang up."""
        self._process.kill()
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()

    def _send(self, line: str) -> None:
        """Send a line, with the token of the reader, and the address for the reply that was received."""
        token = self._sandbox.work / "phone.token"
        if _TOKEN.search(line):
            line = _TOKEN.sub(Path(token).read_text().strip(), line)
        if "$reply/" in line:
            address = _REPLY.findall(self._received)[-1]
            line = re.sub(r"\$reply/\S+", lambda _: address, line)
        assert self._process.stdin
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _receive(self, line: str) -> bool:
        """Return whether a line has been received after the previous ones."""
        found = re.search(rf"^{pattern(line)}\r?$", self.output[len(self._received) :], re.MULTILINE)
        if found:
            self._received = self.output[: len(self._received) + found.end()]
        return found is not None
