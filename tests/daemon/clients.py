"""The plainest of clients: blocking sockets, so that the bytes are the tests' own."""

import base64
import json
import re
import socket
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

SECONDS = 5.0
"""Nobody here waits longer for a word of the daemon."""
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
}


class Response(NamedTuple):
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    """By name in lower case."""
    body: bytes

    def json(self) -> Any:
        """Give the body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """Give the code of a refusal, having looked at its shape."""
        refusal = self.json()
        assert list(refusal) == ["error"] and set(refusal["error"]) == {"code", "message"}, refusal
        assert refusal["error"]["message"]
        assert self.headers["content-type"] == "application/json"
        return str(refusal["error"]["code"])


class Client:
    """A socket that waits at most five seconds for anything."""

    def __init__(self, port: int | socket.socket) -> None:
        """`port` is one of 127.0.0.1, or a socket that is connected already."""
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
        """Close this half of the connection."""
        self.socket.shutdown(socket.SHUT_WR)

    def send_until_blocked(self, block: bytes, most: int) -> int:
        """Send a block again and again until the daemon takes no more, or `most` bytes; give how many went out."""
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
        """Read a line, its end included; empty at the end of the connection."""
        return self._file.readline()

    def read(self, size: int) -> bytes:
        """Read so many bytes, fewer only at the end of the connection."""
        return self._file.read(size)

    def rest(self) -> bytes:
        """Read until the daemon closes, be it by a reset."""
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
        """Send a request, with a Host and, where there is a body, its length, unless `headers` has them."""
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
        """Send a request and read its answer."""
        self.send_request(method, target, headers, body, version)
        return self.response(method)

    def head(self) -> Response:
        """Read an answer as far as its headers go."""
        status = self.line()
        assert re.fullmatch(rb"HTTP/1\.[01] [1-5][0-9][0-9] [^\r\n]*\r\n", status), status
        headers: dict[str, str] = {}
        while (line := self.line()) not in (b"\r\n", b""):
            name, colon, value = line.decode("latin-1").removesuffix("\r\n").partition(": ")
            assert colon and line.endswith(b"\r\n") and name.lower() not in headers, line
            headers[name.lower()] = value
        return Response(int(status[9:12]), headers, b"")

    def response(self, method: str = "GET") -> Response:
        """Read a whole answer."""
        answer = self.head()
        if method == "HEAD" or answer.status in (204, 304):
            return answer
        if answer.headers.get("transfer-encoding") == "chunked":
            return answer._replace(body=b"".join(self.chunks()))
        if "content-length" in answer.headers:
            return answer._replace(body=self.read(int(answer.headers["content-length"])))
        return answer._replace(body=self.rest())

    def chunks(self) -> Iterator[bytes]:
        """Read a body in chunks, to its end."""
        while data := self.chunk():
            yield data

    def chunk(self) -> bytes:
        """Read a chunk; the last one is empty."""
        size = int(self.line(), 16)
        data = self.read(size)
        assert self.read(2) == b"\r\n"
        return data

    def open_stream(self, target: str, headers: Mapping[str, str] | None = None) -> Response:
        """Begin to hear a stream, and read the headers of its answer."""
        self.send_request("GET", target, headers)
        answer = self.head()
        assert answer.status == 200, answer
        return answer


class Lines(Client):
    """A line connection."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.greeting = self.line()

    def command(self, line: bytes) -> bytes:
        """Send a line; read one, without its end."""
        self.send(line + b"\r\n")
        return self.reply()

    def reply(self) -> bytes:
        """Read a line, without its end."""
        line = self.line()
        assert line.endswith(b"\r\n"), line
        return line[:-2]
