"""One HTTP request and its answer (RFC 9110), as the doors see it.

It has the names of Twisted Web's request for what the doors use, so that a door is an ordinary Twisted Web resource,
and nothing of the rest: no cookies, no sessions, no forms. What is sent is one block, head and body together.
"""

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IAddress
from twisted.web.http import parse_qs

from pushd.core.errors import Refusal
from pushd.http.access_log import CLIENT_LEFT, AccessLogEntry
from pushd.net.admission import Slot

_STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode("ascii")) for status in HTTPStatus
}
_BODILESS = (204, 304)
"""Statuses whose answers have no body (RFC 9110, section 6.4.1)."""
_ESCAPED_UNRESERVED = re.compile(rb"%(?:2[DdEe]|3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa]|5[Ff]|7[Ee])")
"""A percent-encoded unreserved character, which means the same as the character (RFC 3986, section 2.3)."""


class RequestConnection(Protocol):
    """The connection by which a request came."""

    peer: IAddress | None
    slot: Slot

    @property
    def date(self) -> bytes:
        """The header lines that all answers of this second share."""

    def answered(self, block: bytes, is_last: bool) -> None:
        """Send an answer, and go on."""

    def release_parser(self) -> None:
        """Let go of what can be made again: the answer is long in coming."""

    def held(self) -> None:
        """Called when the request that is being answered is held."""

    @property
    def is_mid_request(self) -> bool:
        """Whether a further request has been read in part."""

    def prioritize(self) -> None:
        """Be read before those who only listen."""

    def detach(self, peer: Any) -> "DetachedConnection":
        """Leave the connection to another protocol."""


class RequestResource(Protocol):
    """A resource that answers requests. It is found before the body is read, which it limits."""

    def max_body(self, request: "Request") -> int:
        """Return the most bytes of the body of a request."""

    def render(self, request: "Request") -> Any:
        """Answer a request, now or later."""


class DetachedConnection(NamedTuple):
    """A connection that was left to another protocol."""

    transport: Any
    slot: Slot
    """The place that it holds, and that the borrower releases with its end."""
    unread: bytes
    """What the client sent behind the request and was not parsed."""
    give_back: Callable[[Any, Slot, bytes], None]
    """Is called to give the connection back to HTTP: with the transport, the place, and what came meanwhile."""


class Request:
    """A request that came whole, but perhaps for a body that was not read.

    :param headers: by name in lower case; what stands there several times is joined by commas.
    """

    __slots__ = (
        "_args",
        "_connection",
        "_headers",
        "_out",
        "body",
        "closes_connection",
        "code",
        "hurry",
        "is_answered",
        "is_handshake",
        "is_http10",
        "log_entry",
        "method",
        "on_disconnect",
        "path",
        "postpath",
        "prepath",
        "query",
        "refusal",
        "resource",
    )

    def __init__(
        self, connection: RequestConnection, method: bytes, target: bytes, headers: dict[bytes, bytes]
    ) -> None:
        self.method = method
        path, _, self.query = target.partition(b"?")
        self.path = path
        """As it was sent, except that unreserved characters are decoded."""
        self.prepath: list[bytes] = []
        if target == b"*" and method == b"OPTIONS":
            path = b"/"  # the server as a whole (RFC 9110, section 9.3.7)
        segments = path.removeprefix(b"/").split(b"/")
        self.postpath = segments
        if b"%" in path:
            self.path = _ESCAPED_UNRESERVED.sub(lambda found: unquote_to_bytes(found[0]), path)
            self.postpath = [unquote_to_bytes(segment) for segment in segments]
        self.body = b""
        self.code = 200
        self.is_http10 = False
        """Whether it is HTTP/1.0, which knows neither chunks nor connections that stay."""
        self.closes_connection = False
        """Whether the connection closes behind the answer."""
        self.is_answered = False
        self.is_handshake = False
        """Whether it may switch to WebSocket: a GET without a body, behind which nothing was parsed as HTTP."""
        self.refusal: Refusal | None = None
        """Why it is not valid, or was not read to its end."""
        self.resource: RequestResource
        """The resource that answers it; unset if the request is refused."""
        self.on_disconnect: Callable[[], None] | None = None
        """Is called when the client leaves before it is answered."""
        self.hurry: Callable[[], None] | None = None
        """Called when a held request should be answered at once."""
        self.log_entry: AccessLogEntry | None = None
        """What the access log is told, if it tells of this one."""
        self._connection: RequestConnection | None = connection
        self._headers = headers
        self._out: dict[bytes, bytes] = {}
        self._args: dict[bytes, list[bytes]] | None = None

    # What was asked

    @property
    def client(self) -> IAddress | None:
        """The address of the peer, which may be a proxy's."""
        return self._connection.peer if self._connection is not None else None

    @property
    def is_spare(self) -> bool:
        """Whether there is room for a short answer only."""
        return self._connection is not None and self._connection.slot.is_spare

    @property
    def is_disconnected(self) -> bool:
        """Whether nobody is there to be answered."""
        return self._connection is None and not self.is_answered

    @property
    def args(self) -> dict[bytes, list[bytes]]:
        """The parameters of the query, decoded."""
        if self._args is None:
            self._args = parse_qs(self.query, keep_blank_values=True) if self.query else {}
        return self._args

    def getHeader(self, name: bytes) -> bytes | None:
        """Give a header, by its name in lower case; None where there is none."""
        return self._headers.get(name)

    def release(self) -> None:
        """Hold no more of what was asked than the answer needs, since it may be long in coming."""
        self._headers, self._args, self.query, self.body = {}, None, b"", b""
        self.prepath = self.postpath = []
        if self._connection is not None:
            self._connection.release_parser()

    def hold(self, gone: Callable[[], None], hurry: Callable[[], None] | None = None) -> None:
        """Leave the request without an answer until there is something to send.

        :param gone: called when the client disconnects before it is answered.
        :param hurry: called when more follows the request than the connection buffers: answer at once.
        """
        self.on_disconnect, self.hurry = gone, hurry
        if self._connection is not None:
            self._connection.held()

    def prioritize(self) -> None:
        """Let what else comes by the connection be read before those who only listen: it publishes."""
        if self._connection is not None:
            self._connection.prioritize()

    # What is answered

    def setResponseCode(self, code: int) -> None:
        """Choose the status."""
        self.code = code

    def setHeader(self, name: bytes, value: bytes) -> None:
        """Set a header, whose value is one line, whatever is in it."""
        self._out[name] = value.translate(_PRINTABLE)

    def addHeader(self, name: bytes, value: bytes) -> None:
        """Add to a header that is a list."""
        before = self._out.get(name)
        self.setHeader(name, value if before is None else b"%b, %b" % (before, value))

    def hasAnswerHeader(self, name: bytes) -> bool:
        """Tell whether a header of the answer is set."""
        return name in self._out

    def answer(self, body: bytes) -> None:
        """Send the whole answer, unless the client is gone. An answer to HEAD is one to GET without the body."""
        connection = self._connection
        if connection is not None:
            self._done()
            block = self.encode(connection.date, body)
            self.log_answer(len(block))
            connection.answered(block, self.closes_connection)

    def answer_head(self) -> None:
        """Answer HEAD without ``Content-Length``, which may be left out if only the content would tell it (RFC 9110,
        section 9.3.2)."""
        connection = self._connection
        if connection is not None:
            self._done()
            if self.closes_connection:
                self._out[b"Connection"] = b"close"
            block = self.encode_head(connection.date)
            self.log_answer(len(block))
            connection.answered(block, self.closes_connection)

    def detach(self, peer: Any) -> tuple[DetachedConnection, bytes]:
        """Leave the connection to `peer`, a protocol, whose the answer is to send: here is its head.

        A further request that has been read in part cannot be continued afterwards: the answer is then the last one.
        """
        connection = self._connection
        assert connection is not None
        if connection.is_mid_request:
            self.closes_connection = True
            self.setHeader(b"Connection", b"close")
        self._done()
        if self.log_entry is not None:
            self.log_entry.follows_stream(peer, self.code)
        return connection.detach(peer), self.encode_head(connection.date)

    def encode(self, date: bytes, body: bytes) -> bytes:
        """Give the answer as one block; see `head`."""
        if self.code not in _BODILESS:
            self._out[b"Content-Length"] = b"%d" % len(body)
        if self.closes_connection:
            self._out[b"Connection"] = b"close"
        return self.encode_head(date) + (b"" if self.method == b"HEAD" else body)

    def encode_head(self, date: bytes) -> bytes:
        """Give the head of the answer, `date` being the lines that all answers of this second share."""
        lines = [b"%b: %b\r\n" % header for header in self._out.items()]
        return b"".join((_STATUS_LINES[self.code], date, *lines, b"\r\n"))

    def log_answer(self, size: int) -> None:
        """Let the access log tell of the answer, of `size` bytes, if it is to."""
        if self.log_entry is not None:
            self.log_entry.answered(self.code, size)

    def disconnected(self) -> None:
        """Know that the client is gone."""
        self._connection = None
        if self.log_entry is not None:
            self.log_entry.answered(CLIENT_LEFT, 0)
        gone, self.on_disconnect, self.hurry = self.on_disconnect, None, None
        if gone is not None:
            gone()

    def _done(self) -> None:
        self.is_answered = True
        self._connection = self.on_disconnect = self.hurry = None


_PRINTABLE = bytes(code if code >= 32 and code != 127 else 32 for code in range(256))
"""Nothing in a value can end its line (RFC 9110, section 5.5)."""
