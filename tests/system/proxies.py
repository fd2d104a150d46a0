"""Proxy processes for tests, each with its own directory and ports."""

import re
import socket
import subprocess
from collections.abc import Collection
from pathlib import Path

from tests.backends.redis_server import free_port
from tests.daemon.real import ROOT, START_SECONDS, eventually
from tests.programs import find_program

_STOP_SECONDS = 5.0


class Proxy:
    """A proxy in the foreground on free ports of 127.0.0.1, which logs to a file.

    A subclass chooses `ports`, writes its configuration and calls `start`.
    """

    program = ""
    """The name of the executable."""
    package = ""
    """The Debian package that contains it, if its name is another one."""

    def __init__(self, directory: Path, names: Collection[str]) -> None:
        """Find the executable, as `find_program` does, and a free port for each of `names`."""
        path = find_program(self.program, self.package or self.program)
        self.ports = dict(zip(names, _free_ports(len(names)), strict=True))
        self._path = path
        self._log = directory / f"{self.program}.log"

    def start(self, *arguments: str) -> None:
        """Start the process, and wait until all ports accept connections."""
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                [self._path, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )
        if not eventually(self._is_up, START_SECONDS):
            self.stop()
            raise AssertionError(f"{self.program} did not start: {self.log}")

    @property
    def log(self) -> str:
        """The log."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        """Stop the process."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _is_up(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(f"{self.program} did not start: {self.log}")
        return all(_is_listening(port) for port in self.ports.values())


def documented(language: str) -> list[str]:
    """Return the configuration blocks of one proxy in docs/proxies.md, in order."""
    text = (ROOT / "docs" / "proxies.md").read_text(encoding="utf-8")
    blocks = re.findall(rf"```{language}\n(.*?)```", text, re.S)
    assert blocks, f"docs/proxies.md has no configuration for {language}"
    return blocks


def _free_ports(count: int) -> list[int]:
    """Return different free ports."""
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
