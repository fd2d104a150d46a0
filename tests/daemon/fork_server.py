"""A fork server: a process that has imported everything, and forks a `twistd` for each request.

Without it each start needs most of a second for imports, which is most of the time of many tests.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


class ForkedProcess:
    """A process that the fork server has started, with the methods of `subprocess.Popen` that are needed."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        """Return 0 if it has exited, with whatever code, else None."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 0
        return None

    def wait(self, seconds: float) -> None:
        """Wait for its exit. Raises `subprocess.TimeoutExpired`."""
        deadline = time.monotonic() + seconds
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("twistd", seconds)
            time.sleep(0.01)

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has exited."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Terminate the process (SIGTERM)."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process (SIGKILL)."""
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The client side of the server process. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__))],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, log: Path, words: Sequence[str], environ: Mapping[str, str]) -> ForkedProcess:
        """Start `twistd` with some words, in the directory of the file to which its output is appended."""
        request = json.dumps([str(log.absolute()), list(words), dict(environ)])
        assert self._process.stdin and self._process.stdout
        with self._lock:
            self._process.stdin.write(f"{request}\n")
            self._process.stdin.flush()
            return ForkedProcess(int(self._process.stdout.readline()))

    def close(self) -> None:
        """Stop the server process. The daemons go on."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(10)


@cache
def fork_server() -> ForkServer:
    """Return the fork server of this process, which is started when it is needed first."""
    server = ForkServer()
    atexit.register(server.close)
    return server


def _serve() -> None:
    from twisted.scripts import twistd

    import pushd.backends.sqlite.backend
    import pushd.tap

    assert pushd.tap and pushd.backends.sqlite.backend
    # No process waits for the children: the kernel reaps them when they exit.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        log, words, environ = json.loads(line)
        child = os.fork()
        if not child:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            out = os.open(log, os.O_WRONLY | os.O_APPEND)
            nothing = os.open(os.devnull, os.O_RDONLY)
            for source, target in ((nothing, 0), (out, 1), (out, 2)):
                os.dup2(source, target)
            os.close(nothing)
            os.close(out)
            os.chdir(Path(log).parent)
            os.environ.clear()
            os.environ.update(environ)
            sys.argv = ["twistd", *words]
            twistd.run()
            sys.exit()
        print(child, flush=True)


if __name__ == "__main__":
    _serve()
