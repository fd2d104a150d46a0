"""Endless HTTP responses of every transport, and a client that reads them."""

import json
import re
import select
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple, Self

from tests.daemon.clients import SECONDS

_BLOCK = 65536


class StreamTransport(NamedTuple):
    """A stream address, and the parser of its body."""

    name: str
    target: str
    read: Callable[[bytes, str], list[bytes]]
    """Returns the data of the complete messages in a partial body, given its content type."""
    accept: str = "*/*"
    publish_as: str = "text/plain"


def events(body: bytes, _: str) -> list[bytes]:
    """Parse server-sent events; those without an id, and the begin event, are control events."""
    blocks = [block for block in body.split(b"\n\n")[:-1] if re.search(rb"^id: ", block, re.MULTILINE)]
    blocks = [block for block in blocks if b"event: begin\n" not in block]
    return [b"\n".join(re.findall(rb"^data: (.*)$", block, re.MULTILINE)) for block in blocks]


def json_events(body: bytes, kind: str) -> list[bytes]:
    """Parse server-sent events with JSON messages."""
    return [json.loads(data)["data"].encode() for data in events(body, kind)]


def json_lines(body: bytes, _: str) -> list[bytes]:
    """Parse JSON lines."""
    objects = [json.loads(line) for line in body.split(b"\n")[:-1]]
    return [each["data"].encode() for each in objects if "id" in each]


def lines(body: bytes, _: str) -> list[bytes]:
    """Parse lines of data."""
    return body.split(b"\n")[:-1]


def parts(body: bytes, kind: str) -> list[bytes]:
    """Parse parts as browsers do: a part is complete with the boundary line after it, an image in Chromium only with
    the headers of the next part. Empty parts are skipped.
    """
    boundary = re.search(r";boundary=(\w+)", kind)
    assert boundary, kind
    _, *pieces = (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode())
    complete = []
    for piece, following in pairwise(pieces):
        head, blank, data = piece.partition(b"\r\n\r\n")
        assert blank and all(re.fullmatch(rb"[\w-]+: .*", line) for line in head.split(b"\r\n")[1:]), piece
        is_shown = b"\r\n\r\n" in following if b"Content-Type: image/" in head else following.startswith(b"\r\n")
        if data and (is_shown or following.startswith(b"--\r\n")):
            complete.append(data)
    return complete


STREAMS = (
    StreamTransport("sse", "/sse/{}", events),
    StreamTransport("sse-json", "/sse/{}?format=json", json_events),
    StreamTransport("stream", "/stream/{}", json_lines),
    StreamTransport("raw", "/stream/{}?format=raw", lines),
    StreamTransport("multipart", "/multipart/{}", parts),
    StreamTransport("image", "/multipart/{}", parts, "image/*", publish_as="image/png"),
    StreamTransport("mixed", "/mixed/{}", parts),
)
NEGOTIATED = (
    StreamTransport("sub-sse", "/sub/{}", events, "text/event-stream"),
    StreamTransport("sub-stream", "/sub/{}", json_lines, "application/x-ndjson"),
    StreamTransport("sub-multipart", "/sub/{}", parts, "multipart/x-mixed-replace"),
    StreamTransport("sub-mixed", "/sub/{}", parts, "multipart/mixed"),
)


class Stream:
    """A chunked response (RFC 9112, section 7.1), as far as received."""

    def __init__(
        self, port: int, transport: StreamTransport, channel: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send the request, and wait for the headers."""
        self.body = b""
        self.is_complete = False
        """Whether the last chunk was received."""
        self.is_closed = False
        """Whether the connection is closed."""
        self._technique = transport
        self._raw = b""
        self._socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        all_headers = {"Host": "localhost", "Accept": transport.accept} | dict(headers or {})
        lines = [f"GET {transport.target.format(channel)} HTTP/1.1", *(f"{n}: {v}" for n, v in all_headers.items())]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        while b"\r\n\r\n" not in self._raw and not self.is_closed:
            self._receive()
        head, _, rest = self._raw.partition(b"\r\n\r\n")
        self.head = head.decode("latin-1").lower()
        self._raw = rest
        self._dechunk()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """Return the file descriptor, for `select`."""
        return self._socket.fileno()

    @property
    def kind(self) -> str:
        """The content type."""
        found = re.search(r"^content-type: (.*?)\r?$", self.head, re.MULTILINE)
        return found[1] if found else ""

    @property
    def messages(self) -> list[bytes]:
        """The data of the messages received so far."""
        return self._technique.read(self.body, self.kind)

    def wait_for_messages(self, count: int) -> list[bytes]:
        """Wait for this many messages in total; return all, or fewer if the connection closes or time is up."""
        deadline = time.monotonic() + SECONDS
        while len(self.messages) < count and not self.is_closed and time.monotonic() < deadline:
            self.receive()
        return self.messages

    def receive(self) -> None:
        """Receive more bytes."""
        self._receive()
        self._dechunk()

    def read_to_end(self) -> bytes:
        """Wait for the last chunk, or for the connection to close; return the body."""
        while not self.is_complete and not self.is_closed:
            self.receive()
        return self.body

    def _receive(self) -> None:
        try:
            data = self._socket.recv(_BLOCK)
        except ConnectionResetError:
            data = b""
        self._raw += data
        self.is_closed = not data

    def _dechunk(self) -> None:
        while not self.is_complete:
            size, end, rest = self._raw.partition(b"\r\n")
            if not end or len(rest) < int(size, 16) + 2:
                return
            self.is_complete = int(size, 16) == 0
            self.body += rest[: int(size, 16)]
            self._raw = rest[int(size, 16) + 2 :]


def idle(streams: Sequence[Stream], seconds: float, is_over: Callable[[], bool]) -> None:
    """Receive from several streams until a condition holds, for some time at most."""
    deadline = time.monotonic() + seconds
    while not is_over() and (remaining := deadline - time.monotonic()) > 0:
        for stream in select.select([each for each in streams if not each.is_closed], [], [], remaining)[0]:
            stream.receive()
