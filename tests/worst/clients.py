"""Blocking clients that send many requests at once, for threads and child processes."""

import json
import select
import socket
from collections.abc import Iterable, Mapping
from contextlib import ExitStack

from tests.daemon.clients import HANDSHAKE
from tests.soak.transports import Ports

_SECONDS = 60.0
_SMALL = 4 << 10
_READ = 1 << 16


class Connection:
    """A blocking socket."""

    def __init__(self, port: int, *, small: bool = False) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(_SECONDS)
        if small:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL)
        self.socket.connect(("127.0.0.1", port))
        self._rest = b""

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def read_until(self, mark: bytes, count: int = 1) -> bytes:
        """Read until `mark` has occurred `count` times; return the bytes."""
        pieces, seen, tail = [self._rest], self._rest.count(mark), self._rest[-len(mark) + 1 :]
        while seen < count:
            piece = self.socket.recv(_READ)
            if not piece:
                raise ConnectionError("the daemon closed the connection")
            seen += (tail + piece).count(mark)
            tail = (tail + piece)[-len(mark) + 1 :] if len(mark) > 1 else b""
            pieces.append(piece)
        self._rest = b""
        return b"".join(pieces)

    def exchange(self, data: bytes, mark: bytes, count: int) -> None:
        """Send data while reading, until `mark` has occurred `count` times."""
        view, seen, tail = memoryview(data), 0, b""
        while seen < count:
            readable, writable, _ = select.select([self.socket], [self.socket] if view else [], [], _SECONDS)
            if not readable and not writable:
                raise TimeoutError(f"{seen} of {count} answers")
            if writable:
                view = view[self.socket.send(view[:_READ]) :]
            if readable:
                piece = self.socket.recv(_READ)
                if not piece:
                    raise ConnectionError(f"the daemon closed the connection after {seen} of {count} answers")
                seen += (tail + piece).count(mark)
                tail = (tail + piece)[-len(mark) + 1 :] if len(mark) > 1 else b""


def request(ports: Ports, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> int:
    """Send a request on a new connection; return the status after reading the whole response."""
    connection = Connection(ports.http)
    named = {"Host": "localhost", "Connection": "close", "Content-Length": str(len(body))} | dict(headers or {})
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    try:
        connection.send(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode() + body)
        status = 0
        while piece := connection.socket.recv(_READ):
            status = status or int(piece.split()[1])
        return status
    finally:
        connection.close()


def publish(ports: Ports, messages: Iterable[tuple[str, str]]) -> None:
    """Publish channels and texts as one batch."""
    body = "\n".join(json.dumps({"channel": channel, "data": data}) for channel, data in messages).encode()
    assert request(ports, "POST", "/pub", body, {"Content-Type": "application/x-ndjson"}) == 200


def stream(stack: ExitStack, ports: Ports, target: str, *, small: bool = False) -> Connection:
    """Open a stream, and read its headers."""
    connection = Connection(ports.http, small=small)
    stack.callback(connection.close)
    connection.send(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert b" 200 " in connection.read_until(b"\r\n\r\n")
    return connection


def websocket(stack: ExitStack, ports: Ports) -> Connection:
    """Open a ``pushd.v1`` WebSocket."""
    connection = Connection(ports.http)
    stack.callback(connection.close)
    headers = HANDSHAKE | {"Host": "localhost", "Sec-WebSocket-Protocol": "pushd.v1"}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    connection.send(f"GET /ws HTTP/1.1\r\n{head}\r\n".encode())
    assert b" 101 " in connection.read_until(b"\r\n\r\n")
    return connection


def frame(value: object) -> bytes:
    """Encode a command as a text frame with a mask of zeros."""
    data = json.dumps(value).encode()
    size = len(data)
    if size < 126:
        return bytes((0x81, 0x80 | size)) + bytes(4) + data
    if size < 1 << 16:
        return bytes((0x81, 0x80 | 126)) + size.to_bytes(2, "big") + bytes(4) + data
    return bytes((0x81, 0x80 | 127)) + size.to_bytes(8, "big") + bytes(4) + data


def lines(stack: ExitStack, ports: Ports, *, small: bool = False) -> Connection:
    """Connect to the line listener, and read the greeting."""
    connection = Connection(ports.tcp, small=small)
    stack.callback(connection.close)
    connection.read_until(b"\n")
    return connection


def subscribe(connection: Connection, topics: list[str], options: str = "") -> None:
    """Subscribe to many topics with line commands, a thousand per command."""
    for first in range(0, len(topics), 1000):
        connection.send(f"SUB {','.join(topics[first : first + 1000])}{options}\r\n".encode())
        connection.read_until(b"+OK")
