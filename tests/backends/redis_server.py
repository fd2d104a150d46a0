"""A real Redis on a free port, which tests start, kill, stop and start again, and its tools."""

import signal
import socket
import subprocess
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from secrets import randbelow
from typing import Any

from twisted.internet.task import deferLater

from tests.programs import find_program

_START_SECONDS = 30.0
_SECONDS = 30.0
_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LEAST_PORT = 10_000


def free_port() -> int:
    """Return a port that is not in use.

    It is below the range of which connections, and servers on any port, have theirs: so none of them takes it before it
    is used, or while a server that is to start again is stopped.
    """
    first = int(_PORT_RANGE.read_text(encoding="ascii").split()[0])
    while True:
        port = _LEAST_PORT + randbelow(first - _LEAST_PORT)
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


async def until(condition: Callable[[], object], what: str | Callable[[], str], seconds: float = _SECONDS) -> None:
    """Let the reactor turn until `condition` holds."""
    from twisted.internet import reactor

    deadline = reactor.seconds() + seconds
    while not condition():
        assert reactor.seconds() < deadline, f"not within {seconds} s: {what() if callable(what) else what}"
        await deferLater(reactor, 0.005)


async def until_told(condition: Callable[[], Awaitable[object]], what: str, seconds: float = _SECONDS) -> None:
    """Ask again and again until what is told is true."""
    from twisted.internet import reactor

    deadline = reactor.seconds() + seconds
    while not await condition():
        assert reactor.seconds() < deadline, f"not within {seconds} s: {what() if callable(what) else what}"
        await deferLater(reactor, 0.02)


class RedisServer:
    """A redis-server with a folder and a port of its own."""

    def __init__(self, folder: Path, *options: str, port: int | None = None, sentinel: bool = False) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.options = options
        self.sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Give its URL."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> "RedisServer":
        """Start it, and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.sentinel:
            command = [find_program("redis-server", "redis-server"), str(self.folder / "sentinel.conf"), "--sentinel"]
        else:
            command = [
                find_program("redis-server", "redis-server"),
                *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
                *("--save", "", "--logfile", str(self.folder / "log"), *self.options),
            ]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait()
        return self

    def kill(self) -> None:
        """Kill it at once, as a power cut would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it do nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *words: str | bytes, seconds: float = 10.0) -> Any:
        """Send a command over a connection of its own and give the reply."""
        import hiredis

        reader = hiredis.Reader()
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as sock:
            raw = [word.encode() if isinstance(word, str) else word for word in words]
            sock.sendall(b"*%d\r\n" % len(raw) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in raw]))
            while (reply := reader.gets()) is False:
                data = sock.recv(65536)
                if not data:
                    raise ConnectionError("Redis closed the connection")
                reader.feed(data)
        return reply

    def pipe(self, commands: Iterable[tuple[Any, ...]]) -> None:
        """Send many commands, none of which may fail."""
        import hiredis

        reader, left = hiredis.Reader(), iter(commands)
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as sock:
            while some := list(islice(left, 5000)):
                sock.sendall(b"".join([hiredis.pack_command(command) for command in some]))
                for command in some:
                    while (reply := reader.gets()) is False:
                        reader.feed(sock.recv(1 << 16))
                    assert not isinstance(reply, Exception), (command, reply)

    def _wait(self) -> None:
        import time

        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            try:
                if self.ask("PING", seconds=1.0) == b"PONG":
                    return
            except OSError:
                assert self._process is not None
                assert self._process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.01)
        raise TimeoutError("redis-server does not answer")
