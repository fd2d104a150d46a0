"""Reads requests from the bytes of a connection: llhttp, and the limits and checks that it does not have.

The parser is llhttp, by `httptools`: it is strict, and takes a tenth of the time of one in Python.
"""

import re
from typing import Any, Final, Protocol

from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserInvalidURLError,
    HttpParserUpgrade,
    HttpRequestParser,
)
from twisted.web.resource import getChildForRequest

from pushd.core.errors import BadRequest, NoRoom, Refusal, TooLarge
from pushd.http.body import RequestBody
from pushd.http.head import (
    content_length,
    fault_of,
    framing_head,
    hosts_of,
    is_known_expectation,
    may_switch,
    origin_form,
)
from pushd.http.interface import HttpSite
from pushd.http.refusals import ExpectationFailed, HeadersTooLarge, MethodNotAllowed, UnknownMethod
from pushd.http.request import Request, RequestConnection
from pushd.http.states import BODY, BUFFERING, ENDED, HEAD, IDLE, ReadState, transition

_HEADER_LINE: Final = 4
"""Bytes of a header besides its name and value: a colon, a space and the end of the line."""

_METHOD: Final = re.compile(rb"[\r\n]*[A-Za-z0-9!#$%&'*+.^_`|~-]{0,40}(?: |\Z)")
"""The rest of a method, as far as it has been received."""
_UNKNOWN_METHOD: Final = "the request method is not one that pushd implements (RFC 9110, section 15.6.2)"
_METHODS: Final = b"DELETE, GET, HEAD, OPTIONS, POST, PUT"
_NO_HTTP: Final = "request is not valid HTTP/1.1 (RFC 9112)"
_BAD_TARGET: Final = (
    "request target must be ASCII without spaces: percent-encode other characters (RFC 3986, section 2.1)"
)
_BAD_BODY: Final = "chunk extensions or trailers of the request body are too long (RFC 9112, section 7.1)"
_OVERFLOW: Final = "Content-Length overflow"
"""The error of the parser for a number of more than 64 bits."""
_NO_HEADERS: Final[dict[bytes, bytes]] = {}
"""Shared by all readers that are not within a head."""


class StopParsing(Exception):
    """Raised by a callback to stop the parser within the bytes that it was fed.

    llhttp stops only if a callback fails. A callback raises this after the reading state has become `ReadState.ENDED`:
    after the last request, which is in the queue, or after `RequestReader.refuse`. httptools raises its own
    `HttpParserCallbackError` instead, and `RequestReader.feed` ignores that in this state. In any other state it stands
    for an unexpected exception of a callback, a bug, and leaves `feed`.
    """


class ReadingConnection(RequestConnection, Protocol):
    """The connection of a reader."""

    transport: Any
    reading: ReadState
    queue: list[Request]
    """The requests that have been read, in order. The last one may be a refusal."""
    buffered: bytes
    """What follows a WebSocket handshake."""

    def refuse_body(self, refusal: Refusal) -> None:
        """Refuse the body that is being read."""


class RequestReader:
    """Reads the requests of a connection, and appends them to its queue.

    A request that cannot be read is appended with its refusal, and nothing is read after it.
    """

    __slots__ = (
        "_connection",
        "_expects_continue",
        "_framing",
        "_head_room",
        "_headers",
        "_parser",
        "_received",
        "_request",
        "_site",
        "_target",
        "body",
    )

    def __init__(self, connection: ReadingConnection, site: HttpSite) -> None:
        self.body = RequestBody(site.limits.queue.budget)
        self._connection = connection
        self._site = site
        self._parser: Any = HttpRequestParser(self)
        self._target = b""
        self._headers = _NO_HEADERS
        self._head_room = 0
        """Bytes that the head may still have."""
        self._received = 0
        """Bytes of the request so far, except those in one segment with the end of the request before."""
        self._framing = b""
        """A head that has only the framing of the body, while the parser stops at an ``Upgrade`` that is not taken."""
        self._request: Request | None = None
        """The request whose body is being read, in the state `BODY`; None in all others."""
        self._expects_continue: Request | None = None
        """The last request with ``Expect: 100-continue``."""

    def close(self) -> None:
        """Drop the parser and an incomplete request."""
        self._parser = self._request = self._expects_continue = None
        self.body.discard()

    # From the connection

    def feed(self, data: bytes) -> None:
        """Parse received bytes. Those after a WebSocket handshake are buffered: the answer decides what they are."""
        connection = self._connection
        before = len(connection.queue)
        try:
            try:
                self._parser.feed_data(data)
            except HttpParserUpgrade as upgrade:
                self._feed_after_upgrade(data[upgrade.args[0] :])
        except HttpParserCallbackError:
            if connection.reading is not ENDED:
                raise
        except HttpParserInvalidMethodError:
            # The position of the method is unknown, except that a request before it may have ended in this segment.
            is_method = before < len(connection.queue) or _METHOD.match(data)
            self.refuse(UnknownMethod(_UNKNOWN_METHOD) if is_method else BadRequest(_NO_HTTP))
        except HttpParserInvalidURLError:
            self.refuse(BadRequest(_BAD_TARGET))
        except HttpParserError as error:
            self.refuse(TooLarge(str(error)) if _OVERFLOW in str(error) else BadRequest(_NO_HTTP))
        if before == len(connection.queue):
            self._check_incomplete(len(data))

    def take_expectation(self) -> bool:
        """Return whether the client waits for ``100 Continue`` before it sends the body. It does so once."""
        expecting, self._expects_continue = self._expects_continue, None
        return expecting is not None and expecting is self._request

    def refuse(self, refusal: Refusal) -> None:
        """Refuse the request that is being read, and read nothing more."""
        connection, request = self._connection, self._request
        connection.reading = transition(connection.reading, ENDED)
        if request is None:
            is_head = bool(self._target) and self._parser.get_method() == b"HEAD"
            request = Request(connection, b"HEAD" if is_head else b"GET", b"/", self._headers)
            self._site.start_log_entry(request, b"-", b"-")
        request.refusal = refusal
        request.closes_connection = True
        self._request = None
        self.body.discard()
        connection.queue.append(request)

    def release_for(self, refusal: Refusal) -> None:
        """Called when the budget is exceeded and the body makes no progress; see `pushd.core.budget.Holder`."""
        self._connection.refuse_body(refusal)

    # From the parser

    def on_message_begin(self) -> None:
        """Called before the first byte of a request, and of the framing head; see `_feed_after_upgrade`."""
        connection = self._connection
        if self._request is not None:
            return
        connection.reading = transition(connection.reading, HEAD)
        self._target, self._headers, self._head_room = b"", {}, self._site.limits.headers
        self._received = self.body.size = 0

    def on_url(self, target: bytes) -> None:
        """Called with each piece of the target."""
        if self._request is None:
            self._target += target
            self._head_room -= len(target)
            if self._head_room < 0:
                self._stop(self._head_too_large())

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called with each header, and each trailer, which is ignored."""
        if self._request is not None:
            return
        name, value = name.lower(), value.strip(b" \t")
        before = self._headers.get(name)
        self._headers[name] = value if before is None else b"%b, %b" % (before, value)
        self._head_room -= len(name) + len(value) + _HEADER_LINE
        if self._head_room < 0:
            self._stop(self._head_too_large())

    def on_headers_complete(self) -> None:
        """Called at the end of the head: check it before the body is read."""
        if self._request is not None:
            return
        connection, parser, headers, full_target = self._connection, self._parser, self._headers, self._target
        method, version = parser.get_method(), parser.get_http_version()
        target, fault = full_target, None
        if not target.startswith(b"/"):
            target, fault = origin_form(target, headers.get(b"host"))
        request = self._request = Request(connection, method, target, headers)
        is_http10 = request.is_http10 = version != "1.1"
        request.closes_connection = is_http10 or connection.slot.is_spare
        self._site.start_log_entry(request, method, request.path)
        connection.reading = transition(connection.reading, BODY)
        self._headers, self._target = _NO_HEADERS, b""
        if is_http10 and version != "1.0":
            fault = _NO_HTTP
        if refusal := self._judge(request, headers, full_target, fault):
            self._stop(refusal)
        if b"upgrade" in headers and parser.should_upgrade():
            request.closes_connection = request.closes_connection or not parser.should_keep_alive()
            if may_switch(method, headers, is_http10):
                request.is_handshake = True
            else:
                self._framing = framing_head(headers)

    def on_body(self, data: bytes) -> None:
        """Called with each piece of the body."""
        try:
            self.body.append(data)
        except TooLarge as refusal:
            self._stop(refusal)

    def on_message_complete(self) -> None:
        """Called at the end of a request, and after a head with ``Upgrade``; see `_feed_after_upgrade`."""
        if self._framing:
            return
        connection, request = self._connection, self._request
        assert request is not None
        self._request = None
        if self.body.size:
            request.body = self.body.take()
        connection.queue.append(request)
        if not self._parser.should_keep_alive():
            request.closes_connection = True
        if request.closes_connection and not request.is_handshake:
            connection.reading = transition(connection.reading, ENDED)
            raise StopParsing
        connection.reading = transition(connection.reading, IDLE)

    # Within

    def _feed_after_upgrade(self, data: bytes) -> None:
        """Parse what follows a head with ``Upgrade``.

        The parser stops there, and does not read the body. If the upgrade is not taken, another parser continues with a
        head that has only the framing, which the callbacks ignore, and then the body.
        """
        connection = self._connection
        while framing := self._framing:
            self._framing = b""
            self._parser = HttpRequestParser(self)
            self._parser.feed_data(framing)
            try:
                self._parser.feed_data(data)
                return
            except HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
        connection.reading, connection.buffered = transition(connection.reading, BUFFERING), data

    def _judge(self, request: Request, headers: dict[bytes, bytes], target: bytes, fault: str | None) -> Refusal | None:
        """Return why a request is refused before its body is read; None if it is not. Find its resource, which sets the
        limit of the body.

        :param target: as it was sent.
        :param fault: what is wrong with the target or the version.
        """
        site = self._site
        if request.method == b"CONNECT" and fault is not _NO_HTTP:
            request.setHeader(b"Allow", _METHODS)
            return MethodNotAllowed("CONNECT is not supported: pushd is not a proxy")
        if fault := fault or fault_of(headers, request.is_http10):
            return BadRequest(fault)
        if (headers.get(b"host") != site.known_host or not target.startswith(b"/")) and (
            refusal := site.judge_hosts(hosts_of(headers, target), self._connection.transport)
        ):
            return refusal
        if b"expect" in headers and not request.is_http10:
            if not is_known_expectation(headers[b"expect"]):
                return ExpectationFailed("Expect must be 100-continue")
            self._expects_continue = request
        resource: Any = getChildForRequest(site.root, request)
        request.resource = resource
        limit = self.body.limit = resource.max_body(request)
        return self.body.too_large() if content_length(headers) > limit else None

    def _head_too_large(self) -> Refusal:
        return HeadersTooLarge(f"request headers must not exceed {self._site.limits.headers} bytes")

    def _check_incomplete(self, size: int) -> None:
        """Check the limits of a request of which `size` bytes more have been received, and which is incomplete."""
        self._received += size
        if self._received - self.body.encoded_size > self._site.limits.headers:
            is_head = self._connection.reading is HEAD
            self.refuse(self._head_too_large() if is_head else BadRequest(_BAD_BODY))
            return
        try:
            self.body.charge(self)
        except NoRoom as refusal:
            self.refuse(refusal)

    def _stop(self, refusal: Refusal) -> None:
        """Refuse the request in a callback.

        :raises StopParsing: always.
        """
        self.refuse(refusal)
        raise StopParsing
