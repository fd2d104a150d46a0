"""`pushctl` as a shell runs it."""

import os
import subprocess
import sys

from tests.daemon.real import ROOT, Daemon

PUSHCTL = [sys.executable, "-m", "pushd.ctl.main"]
SECONDS = 60


class Pushctl:
    """Runs `pushctl` with the addresses of a daemon."""

    def __init__(self, daemon: Daemon, **environ: str) -> None:
        """`environ`: further environment variables."""
        self.environ = environ | {
            "PYTHONPATH": str(ROOT),
            "PUSHCTL_URL": f"http://127.0.0.1:{daemon.http_port}",
            "PUSHCTL_TCP": f"127.0.0.1:{daemon.tcp_port}",
        }

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a process."""
        return subprocess.Popen(
            [*PUSHCTL, *arguments],
            env=os.environ | self.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        """Run it to completion; return exit status, standard output and standard error."""
        process = self.start(*arguments)
        out, error = process.communicate(stdin, timeout=SECONDS)
        return process.returncode, out, error

    def lines(self, *arguments: str, stdin: str = "") -> list[str]:
        """Run it; return its lines of output. It must succeed, with nothing on standard error."""
        status, out, error = self.run(*arguments, stdin=stdin)
        assert (status, error) == (0, "")
        return out.splitlines()
