"""A small HTTP/1.1 client: one request per connection, with a streamed answer (RFC 9112)."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure


class Head(NamedTuple):
    """The status and the headers, with names in lower case."""

    status: int
    headers: dict[str, str]


class Answer(NamedTuple):
    """A complete answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded as JSON."""
        return json.loads(self.body)


def address(resource: str, name: str = "", **query: object) -> str:
    """Return the path and query of a resource and a name below it; parameters that are None are left out."""
    given = {key: value for key, value in query.items() if value is not None}
    path = f"/{resource}" + (f"/{quote(name, safe='/,*')}" if name else "")
    return path + (f"?{urlencode(given)}" if given else "")


def encode_request(
    method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, version: str = "1.1"
) -> bytes:
    """Encode a request; the connection is closed after it, unless `headers` has another `Connection`."""
    given = {"Host": "localhost", "Connection": "close"} | dict(headers or {})
    if body is not None:
        given["Content-Length"] = str(len(body))
    lines = [f"{method} {path} HTTP/{version}"] + [f"{name}: {value}" for name, value in given.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


class HttpClient(Protocol):
    """A connection that sends a request, and further ones by `ask`."""

    transport: Any

    def __init__(self, request: bytes, take: Callable[[bytes], None] | None = None) -> None:
        """`take` is called with each decoded piece of the body of a 200; without it the body is collected."""
        self._take_stream = take
        self._rest = b""
        self._begin(request)

    def _begin(self, request: bytes) -> None:
        self.head: Deferred[Head] = Deferred()
        self.answer: Deferred[Answer] = Deferred()
        self._request = request
        self._pieces: list[bytes] = []
        self._take = self._take_stream or self._pieces.append
        self._left: int | None = 0
        self._read = self._read_head

    def ask(self, request: bytes) -> None:
        """Send another request, after the answer is complete."""
        assert self.answer.called
        self._begin(request)
        self.transport.write(request)

    def connectionMade(self) -> None:
        """Send the request."""
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        """Parse received bytes."""
        self._rest += data
        while self._read():
            pass

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Connection lost: complete or fail the answer."""
        if self._left is None and reason.check(ConnectionDone):
            self._finish()
        for waiting in (self.head, self.answer):
            if not waiting.called:
                waiting.addErrback(lambda failure: None)
                waiting.errback(reason)

    def _read_head(self) -> bool:
        head, end, rest = self._rest.partition(b"\r\n\r\n")
        if not end:
            return False
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.split(":", 1) for line in lines)
        headers: dict[str, str] = {}
        for name, value in pairs:
            known = headers.get(name.lower())
            headers[name.lower()] = value.strip() if known is None else f"{known}, {value.strip()}"
        self._head = Head(int(first.split()[1]), headers)
        self._rest = rest
        self._begin_body(self._head)
        self.head.callback(self._head)
        return True

    def _begin_body(self, head: Head) -> None:
        if head.status != 200:
            self._take = self._pieces.append
        if self._request.startswith(b"HEAD ") or head.status in (101, 204, 304):
            self._finish()
        elif head.headers.get("transfer-encoding") == "chunked":
            self._read = self._read_chunk
        elif "content-length" in head.headers:
            self._left = int(head.headers["content-length"])
            self._read = self._read_counted
        else:
            self._left = None
            self._read = self._read_to_the_close

    def _read_chunk(self) -> bool:
        size, end, rest = self._rest.partition(b"\r\n")
        if not end or len(rest) < int(size, 16) + 2:
            return False
        data, self._rest = rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        assert rest[len(data) : len(data) + 2] == b"\r\n", "a chunk ends with CRLF"
        if data:
            self._take(data)
            return True
        self._finish()
        return False

    def _read_counted(self) -> bool:
        data, self._rest = self._rest[: self._left], self._rest[self._left :]
        assert self._left is not None
        self._left -= len(data)
        self._take(data)
        if not self._left:
            self._finish()
        return False

    def _read_to_the_close(self) -> bool:
        data, self._rest = self._rest, b""
        self._take(data)
        return False

    def _finish(self) -> None:
        self._left = 0
        self._read = lambda: False
        self.answer.callback(Answer(*self._head, b"".join(self._pieces)))
