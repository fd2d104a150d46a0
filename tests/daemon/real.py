"""The daemon as a process."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.daemon.clients import SECONDS, Http, Lines, Response
from tests.daemon.fork_server import ROOT as ROOT
from tests.daemon.fork_server import ForkedProcess, fork_server

_FOREGROUND = ("-n", "--pidfile=")
TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", *_FOREGROUND, "pushd"]
START_SECONDS = 60.0


def start(
    log: Path, words: Sequence[str], environ: Mapping[str, str] | None = None, *, is_forked: bool = True
) -> "subprocess.Popen[bytes] | ForkedProcess":
    """Start `twistd -n` with some words in the directory of its log; return the process.

    :param environ: further environment variables.
    :param is_forked: whether the fork server starts it.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PUSHD_")}
    variables = inherited | {"PYTHONPATH": str(ROOT)} | dict(environ or {})
    if is_forked:
        return fork_server().start(log, [*_FOREGROUND, *words], variables)
    with log.open("ab") as out:
        return subprocess.Popen(
            [*TWISTD[:-1], *words],
            cwd=log.parent,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )


class Daemon:
    """`twistd -n pushd` on free ports of 127.0.0.1, logging to a file.

    The fork server starts it, unless twistd or the interpreter have options of their own.
    """

    def __init__(
        self,
        directory: Path,
        *options: str,
        twistd: Sequence[str] = (),
        log: str = "pushd.log",
        environ: Mapping[str, str] | None = None,
        is_forked: bool = True,
    ) -> None:
        """
        :param options: those of pushd.
        :param twistd: further options of twistd.
        :param log: the file of the log; one that twistd opens must be named in its options.
        :param environ: further environment variables.
        :param is_forked: whether the fork server may start it; the exit status is unknown then.
        """
        listen = "tcp:0:interface=127.0.0.1"
        words = [*twistd, "pushd", "--http", listen, "--tcp", listen, "--log-format", "text", *options]
        self._log = directory / log
        self._log.write_bytes(b"")
        self._process = start(self._log, words, environ, is_forked=is_forked and not twistd and environ is None)
        self.http_port, self.tcp_port = self._port("http"), self._port("tcp")

    @property
    def log(self) -> str:
        """The log."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def is_alive(self) -> bool:
        """Whether the process is running."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def wait_for_log(self, words: str, start: int = 0) -> bool:
        """Wait for words in the log after its first `start` characters; return whether they are there."""
        return eventually(lambda: words in self.log[start:])

    def assert_healthy(self) -> None:
        """Check that the daemon is running and has logged no traceback."""
        assert self.is_alive, self.log[-2000:]
        assert not re.search("Traceback|Unhandled", self.log), self.log[-8000:]

    def kill(self) -> None:
        """Kill the process (SIGKILL)."""
        self._process.kill()
        self._process.wait(SECONDS)

    def stop(self, seconds: float = SECONDS) -> bool:
        """Stop the process, which is killed after some seconds; return whether it was not."""
        self._process.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        return True

    def _port(self, name: str) -> int:
        listening = re.compile(rf"{name} listens on 127\.0\.0\.1:([0-9]+)")
        if not eventually(lambda: listening.search(self.log) or not self.is_alive, START_SECONDS) or not self.is_alive:
            self.stop()
            raise AssertionError(f"the daemon did not start: {self.log}")
        found = listening.search(self.log)
        assert found
        return int(found[1])

    # Clients

    def http(self) -> Http:
        """Connect to the HTTP port."""
        return Http(self.http_port)

    def lines(self) -> Lines:
        """Connect to the line listener, and read the greeting."""
        return Lines(self.tcp_port)

    def websocket(self, target: str = "/ws", *, v1: bool = True, **options: Any) -> ClientConnection:
        """Open a WebSocket."""
        websocket: ClientConnection = connect(
            f"ws://127.0.0.1:{self.http_port}{target}",
            subprotocols=[Subprotocol("pushd.v1")] if v1 else None,
            compression=None,
            proxy=None,
            open_timeout=SECONDS,
            close_timeout=SECONDS,
            **options,
        )
        return websocket

    def request(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        """Send one request on a new connection."""
        with self.http() as http:
            return http.request(method, target, headers, body)

    def publish(self, channel: str, data: bytes = b"x", **headers: str) -> Any:
        """Publish by HTTP; return the receipt."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = self.request("POST", f"/pub/{channel}", named, data)
        assert response.status in (201, 202), response
        return response.json()

    def history(self, topics: str) -> Any:
        """Return the stored messages of topics."""
        return self.request("GET", f"/history/{topics}?since=all").json()

    def counter(self, series: str) -> float:
        """Return the value of a metric, or 0 if it does not exist."""
        found = re.search(rf"^{re.escape(series)} (.*)$", self.request("GET", "/metrics").body.decode(), re.MULTILINE)
        return float(found[1]) if found else 0.0


def eventually(condition: Any, seconds: float = SECONDS) -> bool:
    """Wait until a condition holds; return whether it did within the time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
