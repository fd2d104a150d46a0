"""Subscribers that read nothing, in a process of their own, which can be suspended or cut off from the network.

`python -m tests.storm.idle_clients HOST HTTP_PORT TCP_PORT EACH` is that process. It opens EACH connections over each
transport, prints a line, and waits until its standard input ends.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from tests.daemon.clients import HANDSHAKE, SECONDS
from tests.daemon.real import ROOT
from tests.soak.transports import Ports

CHANNEL = "storm/idle"
_READY = b"ready\n"
_UPGRADE = "".join(f"{name}: {value}\r\n" for name, value in HANDSHAKE.items())
_STREAMS = {
    f"/sse/{CHANNEL}": "",
    f"/stream/{CHANNEL}": "",
    f"/mixed/{CHANNEL}": "",
    f"/ws/{CHANNEL}": _UPGRADE,
    f"/sse/{CHANNEL}?slow=drop": "",
}
TRANSPORTS = len(_STREAMS) + 1
"""The number of transports."""
DISCONNECTED = 5
"""The number of transports that disconnect a slow consumer here."""


class IdleClients:
    """Connections over each transport. A context manager, in which they are subscribed.

    :param each: the number of connections over each transport.
    :param prefix: the beginning of a command that runs their process, for instance in a network namespace.
    """

    def __init__(self, host: str, ports: Ports, each: int, prefix: Sequence[str] = ()) -> None:
        command = [sys.executable, "-m", __name__, host, str(ports.http), str(ports.tcp), str(each)]
        self._process = subprocess.Popen([*prefix, *command], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == _READY, "not all clients are subscribed"
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def suspend(self) -> None:
        """Suspend the process, so that it does not even wake up for received bytes (SIGSTOP)."""
        os.kill(self._process.pid, signal.SIGSTOP)


def _subscribe(host: str, ports: Ports) -> Iterator[socket.socket]:
    for target, headers in _STREAMS.items():
        yield _request(host, ports.http, f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n", b"\r\n\r\n")
    yield _request(host, ports.tcp, f"SUB {CHANNEL}\r\n", b"+OK")


def _request(host: str, port: int, request: str, reply: bytes) -> socket.socket:
    sock = socket.create_connection((host, port), SECONDS)
    sock.sendall(request.encode())
    received = b""
    while reply not in received:
        piece = sock.recv(4096)
        assert piece, received
        received += piece
    return sock


def main(host: str, http: str, tcp: str, each: str) -> None:
    """Subscribe, and wait."""
    sockets = [sock for _ in range(int(each)) for sock in _subscribe(host, Ports(int(http), int(tcp)))]
    sys.stdout.buffer.write(_READY)
    sys.stdout.flush()
    sys.stdin.read()
    for sock in sockets:
        sock.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
