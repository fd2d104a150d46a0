"""The techniques whose answer does not end, and a client for all of them that tells when what came."""

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


class Technique(NamedTuple):
    """A way to ask for a stream, and how to read it."""

    name: str
    target: str
    read: Callable[[bytes, str], list[bytes]]
    """Gives the data of the messages that a body, as far as it came, and its content type show."""
    accept: str = "*/*"
    publish_as: str = "text/plain"


def events(body: bytes, _: str) -> list[bytes]:
    """Read server-sent events; those without an id are about the stream itself."""
    blocks = [block for block in body.split(b"\n\n")[:-1] if re.search(rb"^id: ", block, re.MULTILINE)]
    return [b"\n".join(re.findall(rb"^data: (.*)$", block, re.MULTILINE)) for block in blocks]


def json_events(body: bytes, kind: str) -> list[bytes]:
    """Read server-sent events of JSON messages."""
    return [json.loads(data)["data"].encode() for data in events(body, kind)]


def json_lines(body: bytes, _: str) -> list[bytes]:
    """Read JSON messages, a line each."""
    said = [json.loads(line) for line in body.split(b"\n")[:-1]]
    return [each["data"].encode() for each in said if "id" in each]


def lines(body: bytes, _: str) -> list[bytes]:
    """Read bare data, a line each."""
    return body.split(b"\n")[:-1]


def parts(body: bytes, kind: str) -> list[bytes]:
    """Read parts as browsers do: one shows when the boundary line behind it is there, an image not before Chromium
    has the headers of the next part. An empty part shows nothing.
    """
    boundary = re.search(r";boundary=(\w+)", kind)
    assert boundary, kind
    _, *pieces = (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode())
    shown = []
    for piece, following in pairwise(pieces):
        head, blank, data = piece.partition(b"\r\n\r\n")
        assert blank and all(re.fullmatch(rb"[\w-]+: .*", line) for line in head.split(b"\r\n")[1:]), piece
        is_there = b"\r\n\r\n" in following if b"Content-Type: image/" in head else following.startswith(b"\r\n")
        if data and (is_there or following.startswith(b"--\r\n")):
            shown.append(data)
    return shown


STREAMS = (
    Technique("sse", "/sse/{}", events),
    Technique("sse-json", "/sse/{}?format=json", json_events),
    Technique("stream", "/stream/{}", json_lines),
    Technique("raw", "/stream/{}?format=raw", lines),
    Technique("multipart", "/multipart/{}", parts),
    Technique("image", "/multipart/{}", parts, publish_as="image/png"),
    Technique("mixed", "/mixed/{}", parts),
)
NEGOTIATED = (
    Technique("sub-sse", "/sub/{}", events, "text/event-stream"),
    Technique("sub-stream", "/sub/{}", json_lines, "application/x-ndjson"),
    Technique("sub-multipart", "/sub/{}", parts, "multipart/x-mixed-replace"),
    Technique("sub-mixed", "/sub/{}", parts, "multipart/mixed"),
)


class Stream:
    """An answer in chunks (RFC 9112, section 7.1), as far as it came."""

    def __init__(self, port: int, technique: Technique, channel: str, headers: Mapping[str, str] | None = None) -> None:
        """Ask, and wait for the headers."""
        self.body = b""
        self.is_complete = False
        """Whether the last chunk came."""
        self.is_closed = False
        """Whether nothing more comes."""
        self._technique = technique
        self._raw = b""
        self._socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        given = {"Host": "localhost", "Accept": technique.accept} | dict(headers or {})
        asked = [f"GET {technique.target.format(channel)} HTTP/1.1", *(f"{n}: {v}" for n, v in given.items())]
        start = time.monotonic()
        self._socket.sendall("\r\n".join([*asked, "", ""]).encode())
        while b"\r\n\r\n" not in self._raw and not self.is_closed:
            self._receive()
        self.seconds = time.monotonic() - start
        """How long the headers took."""
        head, _, rest = self._raw.partition(b"\r\n\r\n")
        self.head = head.decode("latin-1").lower()
        self._raw = rest
        self._dechunk()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """Let `select` wait for it."""
        return self._socket.fileno()

    @property
    def kind(self) -> str:
        """The content type."""
        found = re.search(r"^content-type: (.*?)\r?$", self.head, re.MULTILINE)
        return found[1] if found else ""

    @property
    def messages(self) -> list[bytes]:
        """The data of the messages that came."""
        return self._technique.read(self.body, self.kind)

    def deliver_result(self, count: int) -> list[bytes]:
        """Wait for so many messages in all; give them, or fewer where no more come."""
        deadline = time.monotonic() + SECONDS
        while len(self.messages) < count and not self.is_closed and time.monotonic() < deadline:
            self.take()
        return self.messages

    def take(self) -> None:
        """Take what comes next."""
        self._receive()
        self._dechunk()

    def to_the_end(self) -> bytes:
        """Wait for the last chunk, or for the connection to close; give the body."""
        while not self.is_complete and not self.is_closed:
            self.take()
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


def idle(streams: Sequence[Stream], seconds: float) -> None:
    """Take what comes on any of some streams for a time."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        for stream in select.select([each for each in streams if not each.is_closed], [], [], left)[0]:
            stream.take()
