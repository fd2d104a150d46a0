"""The HTTP listener below the doors: connections, limits, and requests refused before they are read (RFC 9112).

The parser is llhttp, by `httptools`: it is strict, and costs a tenth of one in Python. The doors behind it are Twisted
Web resources.
"""

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final
from wsgiref.handlers import format_date_time

from httptools import HttpParserError, HttpParserInvalidMethodError, HttpParserUpgrade, HttpRequestParser
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IProtocolNegotiationFactory, IReactorTime
from twisted.internet.protocol import ServerFactory
from twisted.python.failure import Failure
from twisted.web.resource import IResource, getChildForRequest
from zope.interface import implementer

from pushd.core.errors import (
    BadRequest,
    ExpectationFailed,
    HeadersTooLarge,
    MethodNotAllowed,
    NoRoom,
    Refusal,
    TooLarge,
    TooLate,
    TooManyConnections,
    UnknownHost,
    UnknownMethod,
)
from pushd.core.outbox import QueueLimits
from pushd.http.access_log import AccessLog, AccessLogEntry
from pushd.http.errors import render_refusal
from pushd.http.request import DetachedConnection, Request
from pushd.metrics import Counters
from pushd.net.admission import Admission, Slot
from pushd.net.keepalive import Deadlines
from pushd.net.listeners import is_on_loopback
from pushd.net.low_priority import prioritize
from pushd.net.sockets import attach_protocol, has_unread, limit_reads
from pushd.net.turn_slices import Slices

_SLICE_SECONDS: Final = 0.005
"""How long the requests of one connection are answered before the reactor has its turn."""
_LINGER_SECONDS: Final = 5.0
"""How long a refused sender may go on sending, so that it reads the refusal before the connection breaks."""
_READ: Final = 8 << 10
"""Bytes: some 270 of the smallest requests, or 1,300 of the smallest WebSocket frames."""
_IDLE_SECONDS: Final = 60.0
"""How long a connection may wait for its next request, and a body for its next bytes."""
_HEADER_LINE: Final = 4
"""Bytes of a header besides its name and value: a colon, a space and the end of the line."""
_CHUNK: Final = 8
"""What a byte of a body may take at most, as a chunk of its own: size, end of line, byte, end of line, and some."""
_AHEAD: Final = 8 << 10
"""Bytes that may follow a held request while the connection is still being read, so that its end is noticed."""

_METHOD: Final = re.compile(rb"[\r\n]*[A-Za-z0-9!#$%&'*+.^_`|~-]{0,40}(?: |\Z)")
"""What is left of a method, or as much of it as there is."""
_UNKNOWN_METHOD: Final = "the request method is not one that pushd implements (RFC 9110, section 15.6.2)"
_METHODS: Final = b"DELETE, GET, HEAD, OPTIONS, POST, PUT"
_NO_HTTP: Final = "request is not valid HTTP/1.1 (RFC 9112)"
_BAD_BODY: Final = "chunk extensions or trailers of the request body are too long (RFC 9112, section 7.1)"
_OVERFLOW: Final = "Content-Length overflow"
"""What the parser says of a number of more than 64 bits."""
_VERSIONS: Final = ("1.1", "1.0")

_INTERNET: Final = (IPv4Address, IPv6Address)

_ABSOLUTE = re.compile(rb"(https?)://([^/?#]*)(.*)", re.IGNORECASE)
_DEFAULT_PORTS: Final = {b"http": b":80", b"https": b":443"}
_SHOWN_HOST: Final = 255
"""Bytes of an unknown host that its refusal shows: no host name is longer."""
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")


@dataclass(frozen=True)
class HttpLimits:
    """The limits of the HTTP listeners, as plain values."""

    message: int = 1 << 20
    """Bytes of a body, but for a batch."""
    batch: int = 16 << 20
    """Bytes of a batch."""
    event: int = 255
    """Bytes."""
    topics: int = 1000
    headers: int = 16 << 10
    """Bytes."""
    handshake: float = 10.0
    """Seconds from the first byte of a request to the end of its headers."""
    upload: float = 300.0
    """Seconds from the end of the headers to the end of the body."""
    queue: QueueLimits = field(default_factory=QueueLimits)


@implementer(IHalfCloseableProtocol)
class Connection:
    """A connection: requests in, each answered before the next one is looked at.

    A request is being read, then waits for its turn, then is being answered. Nothing more is read while one waits, but
    for a little behind a request that is held. What can not be read any further waits for its turn as a request with a
    refusal; behind it nothing is read at all.
    """

    __slots__ = (
        "_ahead",
        "_body",
        "_continuing",
        "_current",
        "_fed",
        "_framing",
        "_headers",
        "_held",
        "_ignores_input",
        "_is_paused",
        "_is_resting",
        "_is_serving",
        "_is_write_paused",
        "_parser",
        "_reading",
        "_rest",
        "_room",
        "_site",
        "_size",
        "_taken",
        "_target",
        "_unsent",
        "_waiting",
        "peer",
        "slot",
        "transport",
    )

    def __init__(self, site: "PushSite", peer: IAddress | None, slot: Slot) -> None:
        self.peer = peer
        self.slot = slot
        self.transport: Any = None
        self._site = site
        self._parser: Any = HttpRequestParser(self)
        self._target = b""
        self._headers: dict[bytes, bytes] | None = None
        """Those of the request whose head is being read; None behind it."""
        self._size = 0
        """Bytes of that head so far."""
        self._fed = 0
        """Bytes of the request in all so far, where it did not come with the end of another one."""
        self._taken = 0
        """How many of them its body accounts for, chunks and all."""
        self._framing = b""
        """A head with the framing of the body alone, while the parser stops at an ``Upgrade`` that is not taken."""
        self._reading: Request | None = None
        """The request whose body is being read."""
        self._continuing: Request | None = None
        """The request whose client waits for ``100 Continue``."""
        self._body: bytes | bytearray = b""
        self._room = 0
        """Bytes that the body may still have."""
        self._held = 0
        """Bytes of it that count as waiting in memory, until it is there."""
        self._unsent = 0
        """Bytes of answers that do, until they are sent."""
        self._waiting: list[Request] = []
        self._current: Request | None = None
        """The request that is being answered."""
        self._rest: bytes | None = None
        """What follows a WebSocket handshake or a held request and is not parsed before that is answered, or None."""
        self._ahead = 0
        """Bytes that were received behind the held request."""
        self._ignores_input = False
        """Whether what comes is let go."""
        self._is_write_paused = False
        """Whether the peer has more to read than the transport can send."""
        self._is_paused = False
        self._is_serving = False
        self._is_resting = False
        """Whether the requests that wait are answered in a later turn of the reactor."""

    @property
    def date(self) -> bytes:
        """The lines that all answers of this second share."""
        return self._site.date()

    # From the transport

    def makeConnection(self, transport: Any) -> None:
        """Begin to wait for a request, or begin again."""
        self.transport = transport
        self._is_write_paused = False
        limit_reads(transport, _READ)
        transport.registerProducer(self, True)
        self._site.counters.connections["http"] += 1
        self._site.on_head.expect(self)

    def dataReceived(self, data: bytes) -> None:
        """Take bytes."""
        if self._rest is not None or self._current is not None:
            self._read_ahead(data)
        elif not self._ignores_input:
            self._take(data)
            self._serve()

    def readConnectionLost(self) -> None:
        """Know that the client sends nothing more. What it asked for is answered, but not what may never come: a
        browser leaves so.
        """
        current = self._current
        last = self._waiting[-1] if self._waiting else current
        if last is None or (current is not None and current.on_disconnect is not None):
            self._close()
        else:
            last.closes_connection = self._ignores_input = True

    def writeConnectionLost(self) -> None:
        """Know that nothing more can be sent."""

    def connectionLost(self, reason: Failure) -> None:
        """Give everything back."""
        current, self._current = self._current, None
        self._release()
        self._ignores_input = True
        self._parser = None
        self._waiting.clear()
        self.slot.release()
        if current is not None:
            current.disconnected()

    def pauseProducing(self) -> None:
        """Know that the peer has enough to read: what else it asked for waits."""
        self._is_write_paused = True

    def resumeProducing(self) -> None:
        """Know that all is sent."""
        self._is_write_paused = False
        self._set_unsent(0)
        self._serve()

    def stopProducing(self) -> None:
        """Know that the connection is lost, which the connection itself tells as well."""

    # From the parser

    def on_message_begin(self) -> None:
        """Begin with a head."""
        if self._reading is not None:
            return  # see _feed
        self._target, self._headers, self._size, self._fed, self._taken = b"", {}, 0, 0, 0

    def on_url(self, target: bytes) -> None:
        """Take a piece of the target."""
        self._target += target
        self._grow(len(target))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. Trailers are not looked at."""
        if self._headers is None:
            return
        name, value = name.lower(), value.strip(b" \t")
        before = self._headers.get(name)
        self._headers[name] = value if before is None else b"%b, %b" % (before, value)
        self._grow(len(name) + len(value) + _HEADER_LINE)

    def on_headers_complete(self) -> None:
        """Judge the head, before the body is read."""
        if self._headers is None:
            return  # see _feed
        parser, limits, headers, target, fault = self._parser, self._site.limits, self._headers, self._target, None
        method = parser.get_method()
        full_target = target
        if not target.startswith(b"/"):
            target, fault = _origin_form(target, headers.get(b"host"))
        request = Request(self, method, target, headers)
        version = parser.get_http_version()
        request.is_http10 = version != "1.1"
        request.closes_connection = request.is_http10 or self.slot.is_spare
        self._site.start_log_entry(request, method, request.path)
        self._reading, self._headers, self._target = request, None, b""
        self._room = limits.batch if request.path == b"/pub" else limits.message
        if version not in _VERSIONS:
            raise self._stop(BadRequest(_NO_HTTP))
        if method == b"CONNECT":
            request.setHeader(b"Allow", _METHODS)
            raise self._stop(MethodNotAllowed("CONNECT is not supported: pushd is not a proxy"))
        if fault := fault or _fault_of(headers, request.is_http10):
            raise self._stop(BadRequest(fault))
        if (headers.get(b"host") != self._site.known_host or not full_target.startswith(b"/")) and (
            refusal := self._site.judge_hosts(_hosts_of(headers, full_target), self.transport)
        ):
            raise self._stop(refusal)
        if b"expect" in headers and not request.is_http10:
            self._expect(request, headers[b"expect"])
        if int(headers.get(b"content-length", b"0")) > self._room:
            raise self._stop(self._too_large(request))
        if b"upgrade" in headers and parser.should_upgrade():
            request.closes_connection = request.closes_connection or not parser.should_keep_alive()
            if _may_switch(request, headers):
                request.is_handshake = True
            else:
                self._framing = _framing_of(headers)

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body, as long as there is room for it."""
        self._room -= len(data)
        if self._room < 0:
            assert self._reading is not None
            raise self._stop(self._too_large(self._reading))
        self._taken += _CHUNK * len(data)
        if not self._body:
            self._body = data
            return
        if isinstance(self._body, bytes):
            self._body = bytearray(self._body)
        self._body += data

    def on_message_complete(self) -> None:
        """Let the request wait for its turn."""
        if self._framing:
            return  # see _feed
        request, self._reading = self._reading, None
        assert request is not None
        if self._body:
            request.body, self._body = bytes(self._body), b""
        self._hold(0)
        self._waiting.append(request)
        if not self._parser.should_keep_alive():
            request.closes_connection = True
        if request.closes_connection:
            self._ignores_input = True
            if not request.is_handshake:
                raise HttpParserError("nothing is read behind the last request")

    # From a request

    def answered(self, block: bytes, is_last: bool) -> None:
        """Send an answer, and go on."""
        self._current = None
        self.transport.write(block)
        if self._is_write_paused:
            self._set_unsent(self._unsent + len(block))
        if is_last:
            self._close()
        elif not self._is_serving:
            self._serve()

    def release_parser(self) -> None:
        """Let the parser go, which is larger than all else of a connection, unless it is within a request."""
        if self._headers is None and self._reading is None:
            self._parser = None

    def held(self) -> None:
        """Called when the request that is being answered is held: read on, within limits."""
        if not self._is_serving:
            self._update_deadlines()

    @property
    def is_mid_request(self) -> bool:
        """Whether the parser has read a request in part."""
        return self._headers is not None or self._reading is not None

    def prioritize(self) -> None:
        """Be read before those who only listen."""
        prioritize(self.transport)

    def detach(self, peer: Any) -> DetachedConnection:
        """Leave the connection to another protocol."""
        transport, early = self.transport, self._rest or b""
        transport.unregisterProducer()
        attach_protocol(transport, peer)
        if self._is_paused:
            self._is_paused = False
            transport.resumeProducing()
        self._current = self._rest = None
        self.release_parser()
        back = self.resume if self._waiting and not self.is_mid_request else self._site.resume
        self._release()
        return DetachedConnection(transport, self.slot, early, back)

    def resume(self, transport: Any, slot: Slot, early: bytes) -> None:
        """Have the connection back; see `Loan`."""
        attach_protocol(transport, self)
        self.slot = slot
        self._rest = early
        self.makeConnection(transport)
        self._serve()

    # Within

    def head_timed_out(self) -> None:
        """Refuse a head that is not there in time."""
        self._stop(TooLate(f"request headers must arrive within {self._site.limits.handshake:g} seconds"))
        self._serve()

    def body_timed_out(self) -> None:
        """Refuse a body that is not there in time, however steadily it comes."""
        self._stop(TooLate(f"request body must arrive within {self._site.limits.upload:g} seconds"))
        self._serve()

    def idle_timed_out(self) -> None:
        """Close: nothing was asked for a while, or a body does not come."""
        self._close()

    def close_if_idle(self) -> None:
        """Close, if nothing is asked now."""
        if self._reading is None:
            self._close()

    def _read_ahead(self, data: bytes) -> None:
        """Take bytes behind a request that is being answered. Behind one that is held, or may switch to WebSocket,
        nothing more is parsed, so that all of it can be handed over.
        """
        current = self._current
        is_held = current is not None and current.on_disconnect is not None
        if is_held:
            self._ahead += len(data)
        if self._rest is not None:
            self._rest += data
            self._update_deadlines()
        elif is_held and not self.is_mid_request and not self._ignores_input:
            self._rest = data
            self._update_deadlines()
        elif not self._ignores_input:
            self._take(data)
            self._serve()
        if self._ahead > _AHEAD and current is not None and current.hurry is not None:
            current.hurry()

    def _expect(self, request: Request, value: bytes) -> None:
        """Judge an ``Expect`` (RFC 9110, section 10.1.1)."""
        if any(word.strip().lower() not in (b"100-continue", b"") for word in value.split(b",")):
            raise self._stop(ExpectationFailed("Expect must be 100-continue"))
        self._continuing = request

    def _take(self, data: bytes) -> None:
        """Let the parser call back with what is in some bytes."""
        complete = len(self._waiting)
        try:
            self._feed(data)
        except HttpParserInvalidMethodError:
            # The parser does not say where the method begins, but behind another request it is no matter.
            is_method = complete < len(self._waiting) or _METHOD.match(data)
            if not self._ignores_input:
                self._stop(UnknownMethod(_UNKNOWN_METHOD) if is_method else BadRequest(_NO_HTTP))
        except HttpParserError as error:
            if not self._ignores_input:
                self._stop(TooLarge(str(error)) if _OVERFLOW in str(error) else BadRequest(_NO_HTTP))
        if complete == len(self._waiting) and not self._ignores_input:
            self._fed += len(data)
            if self._fed - self._taken > self._site.limits.headers:
                self._stop(self._head_too_large() if self._headers is not None else BadRequest(_BAD_BODY))
                return
            try:
                self._hold(len(self._body))
            except NoRoom as refusal:
                self._stop(refusal)

    def _feed(self, data: bytes) -> None:
        """Let the parser call back with what is in some bytes.

        It stops behind the head of each request with ``Upgrade``, and takes none of its body. Where the upgrade is not
        taken another parser goes on, with a head of the framing only, which the callbacks ignore, and then the body.
        """
        if self._parser is None:
            self._parser = HttpRequestParser(self)
        while True:
            try:
                self._parser.feed_data(data)
                return
            except HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
            framing, self._framing = self._framing, b""
            if not framing:
                self._rest = data
                return
            self._parser = HttpRequestParser(self)
            self._parser.feed_data(framing)

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > self._site.limits.headers:
            raise self._stop(self._head_too_large())

    def _head_too_large(self) -> Refusal:
        return HeadersTooLarge(f"request headers must not exceed {self._site.limits.headers} bytes")

    def _too_large(self, request: Request) -> Refusal:
        limits = self._site.limits
        most = limits.batch if request.path == b"/pub" else limits.message
        return TooLarge(f"request body must not exceed {most} bytes here")

    def _stop(self, refusal: Refusal) -> Refusal:
        """Read nothing more; let the refusal wait for its turn, and give it."""
        request = self._reading
        if request is None:
            is_head = bool(self._target) and self._parser.get_method() == b"HEAD"
            request = Request(self, b"HEAD" if is_head else b"GET", b"/", self._headers or {})
            self._site.start_log_entry(request, b"-", b"-")
        request.refusal = refusal
        request.closes_connection = self._ignores_input = True
        self._reading = self._headers = None
        self._body = b""
        self._hold(0)
        self._waiting.append(request)
        return refusal

    def _hold(self, size: int) -> None:
        """Let so many bytes of a body wait for the rest; see `Budget.take`."""
        if size != self._held:
            self._held = self._site.limits.queue.budget.grow(self._held, size)

    def _set_unsent(self, size: int) -> None:
        """Let so many bytes of answers wait to be read, or break off where too much does in all."""
        if size == self._unsent:
            return
        try:
            self._unsent = self._site.limits.queue.budget.grow(self._unsent, size)
        except NoRoom as refusal:
            self._site.counters.count_refusal(refusal, f"http {host_of(self.peer)}")
            self._ignores_input = True
            self.transport.abortConnection()

    def _serve(self) -> None:
        """Answer what waits, one after the other."""
        if self._is_serving:
            return
        self._is_serving = True
        clock = self._site.clock
        until = clock.seconds() + _SLICE_SECONDS
        while self._current is None and not self._is_write_paused and self.transport is not None:
            if self._waiting:
                if self._is_resting or clock.seconds() > until:
                    self._rest_a_turn()
                    break
                self._current = request = self._waiting.pop(0)
                self._ahead = 0
                if request.refusal is None:
                    self._site.serve(request)
                else:
                    self._refuse(request, request.refusal)
            elif self._rest is not None:
                rest, self._rest = self._rest, None
                if rest and not self._ignores_input:
                    self._take(rest)
            else:
                break
        self._is_serving = False
        if self.transport is not None:
            self._update_deadlines()

    def _rest_a_turn(self) -> None:
        if not self._is_resting:
            self._is_resting = True
            self._site.slices.next_turn().addCallback(lambda _: self._go_on())

    def _go_on(self) -> None:
        self._is_resting = False
        self._serve()

    def _update_deadlines(self) -> None:
        """Choose what is expected of the client now, and by when; and whether to read it."""
        site = self._site
        if self._headers is not None:
            site.on_head.expect(self)
        else:
            site.on_head.cancel(self)
        if self._reading is not None:
            site.on_body.expect(self)
            if self._reading is self._continuing and self._current is None and not self._waiting:
                self._continuing = None
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        else:
            site.on_body.cancel(self)
        site.on_idle.cancel(self)
        if self._headers is None and self._current is None:
            site.on_idle.expect(self)
        is_paused = bool(self._waiting or self._rest) and not self._may_read_ahead
        if is_paused != self._is_paused:
            self._is_paused = is_paused
            if is_paused:
                self.transport.pauseProducing()
            else:
                self.transport.resumeProducing()

    @property
    def _may_read_ahead(self) -> bool:
        return self._current is not None and self._current.on_disconnect is not None and self._ahead <= _AHEAD

    def _refuse(self, request: Request, refusal: Refusal) -> None:
        """Answer what is no request, or not one to be read to its end, and close once that is read."""
        site, transport = self._site, self.transport
        site.counters.count_refusal(refusal, f"http {host_of(self.peer)}")
        site.open_cors(request)
        body = render_refusal(request, refusal)
        self._current = None
        block = request.encode(self.date, body)
        request.log_answer(len(block))
        transport.write(block)
        self._ignores_input = True
        transport.unregisterProducer()
        site.on_close.expect(self)
        if hasattr(transport, "loseWriteConnection"):
            transport.loseWriteConnection()
        else:
            transport.loseConnection()

    def _close(self) -> None:
        """Close once all is sent. What waits is not served."""
        self._ignores_input = True
        self._waiting.clear()
        self._rest = None
        self.transport.unregisterProducer()
        self._site.on_close.expect(self)
        self.transport.loseConnection()

    def _release(self) -> None:
        """Have no connection any more."""
        site = self._site
        self._body = b""
        self._hold(0)
        self._set_unsent(0)
        site.counters.connections["http"] -= 1
        for deadline in (site.on_head, site.on_body, site.on_idle, site.on_close):
            deadline.cancel(self)
        self.transport = None


@implementer(IProtocolNegotiationFactory)
class PushSite(ServerFactory):
    """The site: admits connections and hands requests to doors."""

    noisy = False

    def __init__(
        self,
        root: IResource,
        clock: IReactorTime,
        limits: HttpLimits,
        admission: Admission,
        counters: Counters,
        is_proxy: Callable[[str | None], bool] = lambda address: False,
        open_cors: Callable[[Request], object] = lambda request: None,
        access: AccessLog | None = None,
        client_of: Callable[[Request], str] = lambda request: host_of(request.client) or "unix",
        knows_host: Callable[[bytes], bool] = lambda authority: True,
    ) -> None:
        self.limits = limits
        self.counters = counters
        self.clock = clock
        self.slices = Slices(clock)
        """Turns for connections that have asked for more than one slice holds."""
        self.open_cors = open_cors
        self.on_head: Deadlines[Connection] = Deadlines(clock, limits.handshake, Connection.head_timed_out, _has_unread)
        self.on_body: Deadlines[Connection] = Deadlines(clock, limits.upload, Connection.body_timed_out, _has_unread)
        self.on_idle: Deadlines[Connection] = Deadlines(clock, _IDLE_SECONDS, Connection.idle_timed_out, _has_unread)
        self.on_close: Deadlines[Connection] = Deadlines(clock, _LINGER_SECONDS, _abort)
        self._root = root
        self._admission = admission
        self._is_proxy = is_proxy
        self._access = access or AccessLog()
        self._client_of = client_of
        self._knows_host = knows_host
        self.known_host: bytes | None = None
        """The known host that was judged last, which most requests name again."""
        self._second = 0
        self._date = b""

    def reconfigure(self, limits: HttpLimits) -> None:
        """Take other limits for what is asked from now on."""
        self.limits = limits
        self.known_host = None
        self.on_head.seconds, self.on_body.seconds = limits.handshake, limits.upload

    def close_idle(self) -> None:
        """Close the connections on which nothing is asked, which clients keep for another request."""
        for connection in self.on_idle.expected:
            connection.close_if_idle()

    def startFactory(self) -> None:
        """Begin to look at the deadlines."""
        for deadline in self._deadlines():
            deadline.start()

    def stopFactory(self) -> None:
        """Look no more."""
        for deadline in self._deadlines():
            deadline.stop()

    def acceptableProtocols(self) -> list[bytes]:
        """Say what may be chosen over TLS (RFC 7301); without a word Twisted breaks off with those who ask."""
        return [b"http/1.1"]

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Admit a connection, for one short request where all places are taken, or close it at once."""
        host = host_of(addr)
        try:
            slot = self._admission.admit_spare(host, count_address=not self._is_proxy(host))
        except TooManyConnections as refusal:
            self.counters.count_refusal(refusal, f"http {host}")
            return None
        return Connection(self, addr, slot)

    def resume(self, transport: Any, slot: Slot, early: bytes) -> None:
        """Have a connection back; see `Loan`."""
        Connection(self, transport.getPeer(), slot).resume(transport, slot, early)

    def start_log_entry(self, request: Request, method: bytes, path: bytes) -> None:
        """Let the access log tell of a request, if it picks it.

        :param method: as it is to be told, and so `path`, which has no query.
        """
        if self._access.picks():
            request.log_entry = AccessLogEntry(self._access, f"http {self._client_of(request)}", method, path)

    def judge_hosts(self, hosts: Iterable[bytes], transport: Any) -> Refusal | None:
        """Return why a connection does not serve a request for some hosts, if so: on a loopback listener, where none
        but known hosts are served.
        """
        for host in hosts:
            if self._knows_host(host):
                self.known_host = host
            elif is_on_loopback(transport):
                shown = host[:_SHOWN_HOST].decode("ascii", "backslashreplace")
                return UnknownHost(
                    f"a loopback listener does not serve the host {shown!r}: accepted are localhost, *.localhost, "
                    "IP addresses and the names in http.hosts"
                )
        return None

    def serve(self, request: Request) -> None:
        """Hand a request to its door."""
        getChildForRequest(self._root, request).render(request)

    def date(self) -> bytes:
        """Give the header lines that all answers of this second share."""
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._date = b"Server: pushd\r\nDate: %b\r\n" % format_date_time(now).encode("ascii")
        return self._date

    def _deadlines(self) -> tuple[Deadlines[Connection], ...]:
        return self.on_head, self.on_body, self.on_idle, self.on_close


def _has_unread(connection: Connection) -> bool:
    return has_unread(connection.transport)


def _abort(connection: Connection) -> None:
    connection.transport.abortConnection()


def _origin_form(target: bytes, host: bytes | None) -> tuple[bytes, str | None]:
    """Return path and query of a target that is not in origin form, and what is wrong with it (RFC 9112, section 3.2).

    :param host: the value of ``Host``, which must name the same authority.
    """
    if target == b"*":
        return target, None
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        return b"/", "the request target must be a path or an absolute http URL (RFC 9112, section 3.2)"
    scheme, authority, rest = found.groups()
    port = _DEFAULT_PORTS[scheme.lower()]
    if host is not None and _without_default(authority, port) != _without_default(host, port):
        return b"/", "the request target and Host must name the same authority (RFC 9112, section 3.2.2)"
    return rest if rest.startswith(b"/") else b"/" + rest, None


def _without_default(authority: bytes, port: bytes) -> bytes:
    return authority.lower().removesuffix(port).removesuffix(b":")


def _may_switch(request: Request, headers: dict[bytes, bytes]) -> bool:
    """Return whether a request with ``Upgrade`` can be a WebSocket handshake (RFC 6455, section 4.1)."""
    has_body = b"transfer-encoding" in headers or int(headers.get(b"content-length", b"0")) > 0
    is_new_get = request.method == b"GET" and not request.is_http10
    return is_new_get and not has_body and b"websocket" in headers[b"upgrade"].lower()


def _framing_of(headers: dict[bytes, bytes]) -> bytes:
    """Return a head that says no more than where the body ends (RFC 9112, section 6)."""
    if b"transfer-encoding" in headers:
        return b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    return b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % int(headers.get(b"content-length", b"0"))


def _hosts_of(headers: dict[bytes, bytes], target: bytes) -> list[bytes]:
    """Return the hosts that a request is for: that of the header, and that of a target in absolute form."""
    hosts = [headers[b"host"]] if b"host" in headers else []
    if not target.startswith(b"/") and (found := _ABSOLUTE.fullmatch(target)):
        hosts.append(found[2].rpartition(b"@")[2])
    return hosts


def host_of(address: IAddress | None) -> str | None:
    """Give the host of an address, if it has one."""
    return address.host if isinstance(address, _INTERNET) else None


def _fault_of(headers: dict[bytes, bytes], is_old: bool) -> str | None:
    """Find what the parser lets pass and the standard does not (RFC 9112, sections 3.2 and 6.1)."""
    host = headers.get(b"host")
    if host is None and not is_old:
        return "request must have a Host header (RFC 9112, section 3.2)"
    if host and not _HOST.fullmatch(host):
        return "Host must be one host name or IP address, optionally with a port (RFC 9110, section 7.2)"
    coding = headers.get(b"transfer-encoding")
    if coding is not None and (is_old or coding.lower() != b"chunked"):
        return "Transfer-Encoding must be chunked, and requires HTTP/1.1 (RFC 9112, section 6.1)"
    return None
