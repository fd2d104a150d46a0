"""A daemon that a fork server starts, without the time for imports."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.daemon.real import Daemon, eventually
from tests.system.fork_server import ForkServer

_STOP_SECONDS = 20.0


class ForkedProcess:
    """A process started by the fork server, with the methods of `subprocess.Popen` that are needed."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        """Return 0 if it has exited, else None."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 0
        return None

    def kill(self) -> None:
        """Kill the process (SIGKILL)."""
        self._send(signal.SIGKILL)

    def terminate(self) -> None:
        """Terminate the process (SIGTERM)."""
        self._send(signal.SIGTERM)

    def wait(self, seconds: float = 10.0) -> None:
        """Wait for its exit."""
        assert eventually(lambda: self.poll() is not None, seconds)

    def _send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


class ForkedDaemon(Daemon):
    """`twistd -n pushd` on free ports of 127.0.0.1, logging to a file."""

    def __init__(self, home: Path, fork_server: ForkServer, *options: str) -> None:
        listen = "tcp:0:interface=127.0.0.1"
        self._log = home / "pushd.log"
        self._log.write_bytes(b"")
        words = ["-n", "--pidfile=", "pushd", "--http", listen, "--tcp", listen, "--log-format", "text", *options]
        self._process: Any = ForkedProcess(fork_server.start(self._log, words))
        self.http_port, self.tcp_port = self._port("http"), self._port("tcp")

    def kill(self) -> None:
        """Kill the process (SIGKILL)."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Stop the process, whose clients have some seconds to read what was sent."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except AssertionError:
            self.kill()
            raise
