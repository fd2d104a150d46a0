"""A directory in which the commands of a page run: with a home, programs and ports of its own."""

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Final

from tests.backends.redis_server import free_port
from tests.pages.blocks import ROOT

BIN: Final = Path(sys.executable).parent
_PORTS: Final = (8080, 8081, 8090, 8091, 6379)
_DIRECTORIES: Final = ("/etc/pushd", "/opt/pushd", "/run/", "/var/lib/pushd")
_MAKE: Final = '#!/bin/sh\nexec {make} -C {root} -o .venv/.run --no-print-directory "$@"\n'
"""Runs a target in the checkout, but installs nothing: the tests use the environment that they run in."""


class Sandbox:
    """Where a page runs, and how its ports and paths are called there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / "work"
        self.ports = {port: free_port() for port in _PORTS}
        self.restart()
        for name in ("home", "bin", *(directory[1:] for directory in _DIRECTORIES)):
            (folder / name).mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder / "etc/pushd")
        (folder / "home/.curlrc").write_text("silent\nshow-error\n")
        (folder / "opt/pushd/bin").symlink_to(BIN)
        make = folder / "bin/make"
        make.write_text(_MAKE.format(make=shutil.which("make"), root=ROOT))
        make.chmod(0o755)

    def restart(self) -> None:
        """Begin with an empty working directory, beside the checkout's files that pages name."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        (self.work / ".venv").symlink_to(BIN.parent)
        (self.work / "etc").symlink_to(ROOT / "etc")

    @property
    def environ(self) -> dict[str, str]:
        """The environment of the commands."""
        ours = ("PUSHD", "PUSHCTL", "MAKE", "MFLAGS", "ARGS")  # `make test ARGS=...` hands ARGS on to `make run`
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        listen = {
            f"PUSHD_{kind}_LISTEN": f"tcp:{self.ports[port]}:interface=127.0.0.1"
            for kind, port in (("HTTP", 8080), ("TCP", 8081))
        }
        return (
            inherited
            | listen
            | {
                "HOME": str(self.folder / "home"),
                "PATH": f"{self.folder / 'bin'}:{BIN}:{os.environ['PATH']}",
                "PYTHONPATH": f"{ROOT}:{ROOT / 'clients/python'}",
                "PUSHCTL_URL": f"http://127.0.0.1:{self.ports[8080]}",
                "PUSHCTL_TCP": f"127.0.0.1:{self.ports[8081]}",
                "NO_COLOR": "1",
                "LC_ALL": "C.UTF-8",
                "TZ": "UTC",
            }
        )

    def local(self, command: str) -> str:
        """Return a command of a page as it runs here."""
        command = command.replace("redis://redis.internal", "redis://127.0.0.1:6379")
        for directory in _DIRECTORIES:
            command = re.sub(rf"(?<![\w./]){directory}", f"{self.folder}{directory}", command)
        for documented, port in self.ports.items():
            command = re.sub(rf"(?<![\d.]){documented}(?!\d)", str(port), command)
        return command

    def documented(self, output: str) -> str:
        """Return an output with the ports and paths of the page."""
        output = output.replace(f"127.0.0.1:{self.ports[6379]}", "redis.internal:6379")
        for documented, port in self.ports.items():
            output = re.sub(rf"(?<!\d){port}(?!\d)", str(documented), output)
        return output.replace(f"{self.folder}/", "/")
