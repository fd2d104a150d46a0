"""Clients on plain blocking sockets, so that tests control every byte."""

import base64
import json
import re
import socket
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

SECONDS = 30.0
"""The timeout of every read and wait: only a daemon that is stuck exceeds it, however busy the machine is."""
LISTED = "content-security-policy"
"""The header of an answer that may appear twice: both policies apply."""
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
}


class Response(NamedTuple):
    """An HTTP response."""

    status: int
    headers: dict[str, str]
    """By name in lower case."""
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a refusal, whose structure is checked."""
        refusal = self.json()
        assert list(refusal) == ["error"] and set(refusal["error"]) == {"code", "message"}, refusal
        assert refusal["error"]["message"]
        assert self.headers["content-type"] == "application/json"
        return str(refusal["error"]["code"])


class Client:
    """A socket with a timeout."""

    def __init__(self, port: int | socket.socket) -> None:
        """Connect to a port of 127.0.0.1, or use a connected socket."""
        if isinstance(port, int):
            self.socket = socket.create_connection(("127.0.0.1", port), SECONDS)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            self.socket = port
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def half_close(self) -> None:
        """Close the sending side of the connection."""
        self.socket.shutdown(socket.SHUT_WR)

    def send_until_blocked(self, block: bytes, most: int) -> int:
        """Send a block repeatedly until the daemon stops reading, or `most` bytes; return the number of bytes sent."""
        sent = 0
        self.socket.settimeout(0.5)
        try:
            while sent < most:
                sent += self.socket.send(block)
        except OSError:
            pass
        self.socket.settimeout(SECONDS)
        return sent

    def line(self) -> bytes:
        """Read a line with its line end; empty at the end of the connection."""
        return self._file.readline()

    def read(self, size: int) -> bytes:
        """Read this many bytes, or fewer at the end of the connection."""
        return self._file.read(size)

    def rest(self) -> bytes:
        """Read until the daemon closes or resets the connection."""
        pieces = []
        try:
            while piece := self._file.read1(65536):
                pieces.append(piece)
        except ConnectionResetError:
            pass
        return b"".join(pieces)


class Http(Client):
    """An HTTP connection."""

    def send_request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        version: str = "1.1",
    ) -> None:
        """Send a request with `Host` and, if there is a body, `Content-Length`, unless `headers` contains them."""
        usual = {"Host": "localhost"} | ({"Content-Length": str(len(body))} if body else {})
        lines = [f"{method} {target} HTTP/{version}", *(f"{n}: {v}" for n, v in (usual | dict(headers or {})).items())]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        version: str = "1.1",
    ) -> Response:
        """Send a request and read the response."""
        self.send_request(method, target, headers, body, version)
        return self.response(method)

    def head(self) -> Response:
        """Read the status line and the headers of a response."""
        status = self.line()
        assert re.fullmatch(rb"HTTP/1\.[01] [1-5][0-9][0-9] [^\r\n]*\r\n", status), status
        headers: dict[str, str] = {}
        while (line := self.line()) not in (b"\r\n", b""):
            name, colon, value = line.decode("latin-1").removesuffix("\r\n").partition(": ")
            name = name.lower()
            assert colon and line.endswith(b"\r\n") and (name not in headers or name == LISTED), line
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return Response(int(status[9:12]), headers, b"")

    def response(self, method: str = "GET") -> Response:
        """Read a whole response."""
        response = self.head()
        if method == "HEAD" or response.status in (204, 304):
            return response
        if response.headers.get("transfer-encoding") == "chunked":
            return response._replace(body=b"".join(self.chunks()))
        if "content-length" in response.headers:
            return response._replace(body=self.read(int(response.headers["content-length"])))
        return response._replace(body=self.rest())

    def chunks(self) -> Iterator[bytes]:
        """Yield the chunks of a body."""
        while data := self.chunk():
            yield data

    def chunk(self) -> bytes:
        """Read a chunk; the last one is empty."""
        size = int(self.line(), 16)
        data = self.read(size)
        assert self.read(2) == b"\r\n"
        return data

    def open_stream(self, target: str, headers: Mapping[str, str] | None = None) -> Response:
        """Request a stream, and read the headers of the response."""
        self.send_request("GET", target, headers)
        response = self.head()
        assert response.status == 200, response
        return response


class Lines(Client):
    """A connection to the line listener."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.greeting = self.line()

    def command(self, line: bytes) -> bytes:
        """Send a command; return the next line, without its line end."""
        self.send(line + b"\r\n")
        return self.reply()

    def reply(self) -> bytes:
        """Read a line, without its line end."""
        line = self.line()
        assert line.endswith(b"\r\n"), line
        return line[:-2]
