"""One HTTP request and its answer (RFC 9110), as resources see it.

What resources use has the names of Twisted Web's request, so that a resource is an ordinary Twisted Web resource. There
are no cookies, sessions or forms. An answer is sent as one block, head and body together.
"""

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote_to_bytes

from twisted.internet.interfaces import IAddress

from pushd.auth.url_signature import parse_query
from pushd.core.errors import Refusal
from pushd.core.grant import NOTHING
from pushd.core.peer import Peer
from pushd.http.access_log import CLIENT_LEFT, AccessLogEntry
from pushd.net.admission import Slot

_STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode("ascii")) for status in HTTPStatus
}
_DEFAULTS = {b"Cache-Control": b"no-store"}
"""The headers of an answer before any is set. Whatever depends on state must not be stored by a cache."""
_BODILESS = (204, 304)
"""The statuses of answers without a body (RFC 9110, section 6.4.1)."""
_ESCAPED_UNRESERVED = re.compile(rb"%(?:2[DdEe]|3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa]|5[Ff]|7[Ee])")
"""A percent-encoded unreserved character, which is equivalent to the character (RFC 3986, section 2.3)."""
_NOBODY = Peer("http", "unknown", NOTHING)
"""The peer of a request before it is authenticated."""


class RequestConnection(Protocol):
    """The connection of a request."""

    peer: IAddress | None
    slot: Slot

    @property
    def date(self) -> bytes:
        """The header lines that all answers of this second share."""

    def answered(self, block: bytes, is_last: bool) -> None:
        """Send an answer, then answer the next request, or close if this is the last one."""

    def release_parser(self) -> None:
        """Release the parser, which can be created again: the answer will take long."""

    def held(self) -> None:
        """Called when the request that is being answered is held."""

    @property
    def is_mid_request(self) -> bool:
        """Whether a further request has been read in part."""

    @property
    def is_stopping(self) -> bool:
        """Whether the connection is to close after the next answer, since the daemon stops."""

    def prioritize(self) -> None:
        """Read this connection before those that only subscribe."""

    def abort(self) -> None:
        """Close the connection at once."""

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
    """The slot of the connection, which the other protocol releases when the connection is lost."""
    unread: bytes
    """Bytes that the client sent after the request, which are not parsed."""
    give_back: Callable[[Any, Slot, bytes], None]
    """Returns the connection to HTTP. Its arguments are the transport, the slot, and the bytes received meanwhile."""


class Request:
    """A request, complete unless it is refused.

    :param headers: by name in lower case. Values of headers that appear more than once are joined by commas.
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
        "peer",
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
        self.peer = _NOBODY
        """Who sent it, and what it may do: nothing before it is authenticated."""
        self.body = b""
        self.code = 200
        self.is_http10 = False
        """Whether it is HTTP/1.0, which has neither the chunked coding nor persistent connections."""
        self.closes_connection = False
        """Whether the connection closes after the answer."""
        self.is_answered = False
        self.is_handshake = False
        """Whether it may switch to WebSocket: a GET without a body, after which nothing was parsed as HTTP."""
        self.refusal: Refusal | None = None
        """Why it is not valid, or was not read to its end."""
        self.resource: RequestResource
        """The resource that answers it; unset if the request is refused."""
        self.on_disconnect: Callable[[], None] | None = None
        """Called when the client disconnects before the answer."""
        self.hurry: Callable[[], None] | None = None
        """Called when a held request should be answered at once."""
        self.log_entry: AccessLogEntry | None = None
        """Its entry of the access log, if the log has picked it."""
        self._connection: RequestConnection | None = connection
        self._headers = headers
        self._out: dict[bytes, bytes] = _DEFAULTS.copy()
        self._args: dict[bytes, list[bytes]] | None = None

    # The request

    @property
    def client(self) -> IAddress | None:
        """The address of the peer, which may be a proxy's."""
        return self._connection.peer if self._connection is not None else None

    @property
    def is_spare(self) -> bool:
        """Whether its connection is only for a short request; see `Slot.is_spare`."""
        return self._connection is not None and self._connection.slot.is_spare

    @property
    def is_disconnected(self) -> bool:
        """Whether the client has disconnected before the answer."""
        return self._connection is None and not self.is_answered

    @property
    def args(self) -> dict[bytes, list[bytes]]:
        """The parameters of the query, decoded."""
        if self._args is None:
            self._args = parse_query(self.query)
        return self._args

    def getHeader(self, name: bytes) -> bytes | None:
        """Return a header by its name in lower case; None if it is missing."""
        return self._headers.get(name)

    def drop_cookies(self) -> None:
        """Ignore the cookies of the request."""
        self._headers.pop(b"cookie", None)

    def release(self) -> None:
        """Release what the answer does not need, since it may take long."""
        self._headers, self._args, self.query, self.body = {}, None, b"", b""
        self.prepath = self.postpath = []
        if self._connection is not None:
            self._connection.release_parser()

    def hold(self, on_disconnect: Callable[[], None], hurry: Callable[[], None] | None = None) -> None:
        """Leave the request without an answer until there is something to send.

        :param on_disconnect: called when the client disconnects before the answer.
        :param hurry: called when more follows the request than the connection buffers: answer at once.
        """
        self.on_disconnect, self.hurry = on_disconnect, hurry
        if self._connection is not None:
            self._connection.held()

    def prioritize(self) -> None:
        """Read the connection before those that only subscribe, since it publishes."""
        if self._connection is not None:
            self._connection.prioritize()

    def abort(self) -> None:
        """Close the connection at once instead of answering; the request must be held."""
        if self._connection is not None:
            self._connection.abort()

    # The answer

    def setResponseCode(self, code: int) -> None:
        """Set the status."""
        self.code = code

    def setHeader(self, name: bytes, value: bytes) -> None:
        """Set a header. Control characters of the value are replaced by spaces."""
        self._out[name] = value.translate(_PRINTABLE)

    def addHeader(self, name: bytes, value: bytes) -> None:
        """Add a value to a header that is a list."""
        before = self._out.get(name)
        self.setHeader(name, value if before is None else b"%b, %b" % (before, value))

    def hasAnswerHeader(self, name: bytes) -> bool:
        """Return whether a header of the answer is set."""
        return name in self._out

    def answer(self, body: bytes) -> None:
        """Send the answer, unless the client has disconnected. An answer to HEAD is sent without the body."""
        connection = self._connection
        if connection is not None:
            self._done()
            if connection.is_stopping:
                self.closes_connection = True
            block = self.encode(connection.date, body)
            self.log_answer(len(block))
            connection.answered(block, self.closes_connection)

    def answer_head(self) -> None:
        """Answer HEAD without ``Content-Length``, which may be omitted if it depends on the content (RFC 9110, section
        9.3.2).
        """
        connection = self._connection
        if connection is not None:
            self._done()
            if connection.is_stopping:
                self.closes_connection = True
            if self.closes_connection:
                self._out[b"Connection"] = b"close"
            block = self.encode_head(connection.date)
            self.log_answer(len(block))
            connection.answered(block, self.closes_connection)

    def detach(self, peer: Any) -> tuple[DetachedConnection, bytes]:
        """Leave the connection to `peer`, a protocol. Return it with the head of the answer, which `peer` has to send.

        A further request that has been read in part cannot be continued afterwards, so the answer is then the last one.
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
        """Return the whole answer; see `encode_head`."""
        if self.code not in _BODILESS:
            self._out[b"Content-Length"] = b"%d" % len(body)
        if self.closes_connection:
            self._out[b"Connection"] = b"close"
        return self.encode_head(date) + (b"" if self.method == b"HEAD" else body)

    def encode_head(self, date: bytes) -> bytes:
        """Return the head of the answer.

        :param date: the header lines that all answers of this second share.
        """
        if self.peer.identity is not None or self.peer.forwarded:
            self._out[b"Cache-Control"] = b"private, " + self._out[b"Cache-Control"]
        lines = [b"%b: %b\r\n" % header for header in self._out.items()]
        return b"".join((_STATUS_LINES[self.code], date, *lines, b"\r\n"))

    def log_answer(self, size: int) -> None:
        """Log the answer, of `size` bytes, if the access log has picked the request."""
        if self.log_entry is not None:
            self.log_entry.answered(self.code, size)

    def disconnected(self) -> None:
        """Called when the client has disconnected before the answer."""
        self._connection = None
        if self.log_entry is not None:
            self.log_entry.answered(CLIENT_LEFT, 0)
        on_disconnect, self.on_disconnect, self.hurry = self.on_disconnect, None, None
        if on_disconnect is not None:
            on_disconnect()

    def _done(self) -> None:
        self.is_answered = True
        self._connection = self.on_disconnect = self.hurry = None


_PRINTABLE = bytes(code if code >= 32 and code != 127 else 32 for code in range(256))
"""Replaces control characters, so that no value ends its line (RFC 9110, section 5.5)."""
