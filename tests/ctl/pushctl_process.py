"""`pushctl` as a shell runs it."""

import os
import subprocess
import sys

from tests.doors.real import ROOT, Daemon

PUSHCTL = [sys.executable, "-m", "pushd.ctl.main"]
SECONDS = 30


class Pushctl:
    """Runs `pushctl`."""

    def __init__(self, daemon: Daemon) -> None:
        self._addresses = {
            "PYTHONPATH": str(ROOT),
            "PUSHCTL_URL": f"http://127.0.0.1:{daemon.http_port}",
            "PUSHCTL_TCP": f"127.0.0.1:{daemon.tcp_port}",
        }

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start it."""
        return subprocess.Popen(
            [*PUSHCTL, *words],
            env=os.environ | self._addresses,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, given: str = "") -> tuple[int, str, str]:
        """Run it to its end; give its exit status and what it said."""
        process = self.start(*words)
        out, error = process.communicate(given, timeout=SECONDS)
        return process.returncode, out, error

    def lines(self, *words: str, given: str = "") -> list[str]:
        """Run it; it must succeed, and say nothing on the side."""
        status, out, error = self.run(*words, given=given)
        assert (status, error) == (0, "")
        return out.splitlines()
