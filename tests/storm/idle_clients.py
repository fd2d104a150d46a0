"""Peers that listen and then do nothing any more, in a process of their own, which may be stopped, or cut off.

`python -m tests.storm.idle_clients HOST HTTP_PORT TCP_PORT EACH` is that process: it opens EACH connections by each
way, says so, and sleeps until its input ends.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from tests.doors.clients import HANDSHAKE, SECONDS
from tests.doors.real import ROOT
from tests.soak.transports import Ports

CHANNEL = "storm/sleepers"
_AWAKE = b"asleep\n"
_UPGRADE = "".join(f"{name}: {value}\r\n" for name, value in HANDSHAKE.items())
_STREAMS = {
    f"/sse/{CHANNEL}": "",
    f"/stream/{CHANNEL}": "",
    f"/mixed/{CHANNEL}": "",
    f"/ws/{CHANNEL}": _UPGRADE,
    f"/sse/{CHANNEL}?slow=drop": "",
}
WAYS = len(_STREAMS) + 1
"""By so many ways they listen."""
DISCONNECTED = 5
"""Of these, those by which one is let go that does not read."""


class Sleepers:
    """So many by each way; a context, in which they are there.

    :param within: words of a command that runs their process, such as that for a network of its own.
    """

    def __init__(self, host: str, ports: Ports, each: int, within: Sequence[str] = ()) -> None:
        words = [sys.executable, "-m", __name__, host, str(ports.http), str(ports.tcp), str(each)]
        self._process = subprocess.Popen([*within, *words], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == _AWAKE, "not all are there"
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def stop(self) -> None:
        """Let them not even be woken by what comes (SIGSTOP)."""
        os.kill(self._process.pid, signal.SIGSTOP)


def _listen(host: str, ports: Ports) -> Iterator[socket.socket]:
    for target, headers in _STREAMS.items():
        yield _ask(host, ports.http, f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n", b"\r\n\r\n")
    yield _ask(host, ports.tcp, f"SUB {CHANNEL}\r\n", b"+OK")


def _ask(host: str, port: int, ask: str, answer: bytes) -> socket.socket:
    sock = socket.create_connection((host, port), SECONDS)
    sock.sendall(ask.encode())
    heard = b""
    while answer not in heard:
        piece = sock.recv(4096)
        assert piece, heard
        heard += piece
    return sock


def main(host: str, http: str, tcp: str, each: str) -> None:
    """Listen, and sleep."""
    held = [sock for _ in range(int(each)) for sock in _listen(host, Ports(int(http), int(tcp)))]
    sys.stdout.buffer.write(_AWAKE)
    sys.stdout.flush()
    sys.stdin.read()
    for sock in held:
        sock.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
