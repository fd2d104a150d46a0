"""The HTTP listener below the doors: connections, limits, and requests refused before they are read (RFC 9112)."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from io import BytesIO
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from pushd.core.errors import BadRequest, HeadersTooLarge, Refusal, TooLarge, TooLate, TooManyConnections
from pushd.core.outbox import Limits
from pushd.metrics import Counters
from pushd.net.admission import Admission, Slot
from pushd.net.sockets import close_within, find_dead_peer, read_little
from pushd.wire.jsons import encode

_LINGER_SECONDS = 5.0
"""How long a refused sender may go on sending, so that it reads the refusal before the connection breaks."""
_READ = 8 << 10
"""Bytes: some 270 of the smallest requests, or 1,300 of the smallest WebSocket frames."""
_IDLE_SECONDS = 60.0
"""How long a kept-alive connection may wait for its next request."""


JSON = b"application/json"
_AUTHORITY = re.compile(rb"^https?://[^/?#]*", re.IGNORECASE)
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
    dead_peer: int = 50
    """Seconds; see `find_dead_peer`."""
    queue: Limits = field(default_factory=Limits)


class PushRequest(Request):
    """A request whose body is judged by its declared length, before it is read, and is kept in memory."""

    channel: "PushChannel"
    content: BytesIO

    def gotLength(self, length: int | None) -> None:
        """Refuse a body that is too large before the sender is told to go on."""
        self.content = BytesIO()
        self._room = self.channel.body_limit()
        if length is not None and length > self._room:
            self.requestHeaders.removeHeader(b"Expect")
            self._refuse_body()

    def handleContentChunk(self, data: bytes) -> None:
        """Take a piece of the body, as long as there is room for it."""
        self._room -= len(data)
        if self._room < 0:
            self._refuse_body()
        elif not self.channel.refused:
            self.content.write(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Go on with a request that is complete and was not refused."""
        if not self.channel.refused:
            super().requestReceived(command, _origin_form(path), version)

    def _refuse_body(self) -> None:
        self.channel.refuse(TooLarge(f"a body has at most {self.channel.body_limit()} bytes here"))


class PushChannel(HTTPChannel):
    """A connection: a deadline for the headers, limits, and refusals in the words of the contract."""

    site: "PushSite"
    transport: Any
    slot: Slot | None = None
    _deadline: IDelayedCall | None = None
    _between_requests = True
    refused = False

    def connectionMade(self) -> None:
        """Begin to wait for a request."""
        super().connectionMade()
        self.totalHeadersSize = self.MAX_LENGTH = self.site.limits.headers
        find_dead_peer(self.transport, self.site.limits.dead_peer)
        read_little(self.transport, _READ)
        self.site.counters.connections["http"] += 1
        self._await_headers()

    def dataReceived(self, data: bytes) -> None:
        """Take bytes; those that follow a refusal are let go."""
        if self.refused:
            return
        if self._between_requests and not self.requests:
            self._await_headers()
        super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        """Take a line of the headers; what came together with something refused is let go."""
        if not self.refused:
            super().lineReceived(line)

    def rawDataReceived(self, data: bytes) -> None:
        """Take a piece of a body; what came together with something refused is let go."""
        if not self.refused:
            super().rawDataReceived(data)

    def allHeadersReceived(self) -> None:
        """Know that the headers are complete, and whether they make a request."""
        self._cancel_deadline()
        self._between_requests = False
        if fault := _fault_of(self.requests[-1], self._version):
            self.refuse(BadRequest(fault))
        else:
            super().allHeadersReceived()

    def requestDone(self, request: Request) -> None:
        """Know that a request is answered."""
        self._between_requests = True
        super().requestDone(request)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a header line that is longer than all of them may be."""
        self.refuse(HeadersTooLarge(f"the headers have at most {self.site.limits.headers} bytes"))

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        """Give everything back."""
        self._cancel_deadline()
        if self.slot is not None:
            self.hand_over().release()
        super().connectionLost(reason)

    def hand_over(self) -> Slot:
        """Leave the connection to another protocol; give the place that it holds."""
        assert self.slot is not None
        slot, self.slot = self.slot, None
        self.setTimeout(None)
        self.site.counters.connections["http"] -= 1
        return slot

    def body_limit(self) -> int:
        """Give the bytes that the body of the request may have, whose first line is known."""
        path = self._path.partition(b"?")[0]
        return self.site.limits.batch if path == b"/pub" else self.site.limits.message

    def refuse(self, refusal: Refusal) -> None:
        """Answer what is no request, or not one to be read to its end, and close."""
        if self.refused:
            return
        self.refused = True
        self._cancel_deadline()
        self.site.counters.refused(refusal, f"http {host_of(self.transport.getPeer())}")
        self._answer(refusal)
        self.transport.unregisterProducer()
        if hasattr(self.transport, "loseWriteConnection"):
            self.transport.loseWriteConnection()
            self.callLater(_LINGER_SECONDS, self.transport.abortConnection)
        else:
            close_within(self.transport, self.site.reactor, _LINGER_SECONDS)

    def _answer(self, refusal: Refusal) -> None:
        headers, content_type, body = Headers(), JSON, json_error(refusal)
        if self.requests:
            self.site.open_cors(self.requests[-1])
            headers = self.requests[-1].responseHeaders
            content_type, body = error_body(self.requests[-1], refusal)
        for name, value in (
            (b"Content-Type", content_type),
            (b"Content-Length", b"%d" % len(body)),
            (b"Connection", b"close"),
        ):
            headers.setRawHeaders(name, [value])
        self.writeHeaders(b"HTTP/1.1", b"%d" % refusal.status, HTTPStatus(refusal.status).phrase.encode(), headers)
        self.transport.write(body)

    def _respondToBadRequestAndDisconnect(self) -> None:
        if self._receivedHeaderSize > self.totalHeadersSize:
            self.lineLengthExceeded(b"")
        else:
            self.refuse(BadRequest("that is not HTTP/1.1 (RFC 9112)"))

    def _await_headers(self) -> None:
        if self._deadline is None:
            self._deadline = self.callLater(self.site.limits.handshake, self._too_late)

    def _cancel_deadline(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()

    def _too_late(self) -> None:
        self._deadline = None
        self.refuse(TooLate(f"a request is there within {self.site.limits.handshake:g} seconds"))


class PushSite(Site):
    """The site: admits connections and hands requests to doors."""

    noisy = False
    protocol: Any = PushChannel
    displayTracebacks = False

    def __init__(
        self,
        root: Resource,
        clock: IReactorTime,
        limits: HttpLimits,
        admission: Admission,
        counters: Counters,
        is_proxy: Callable[[str | None], bool] = lambda address: False,
        open_cors: Callable[[Request], object] = lambda request: None,
    ) -> None:
        super().__init__(
            root, requestFactory=PushRequest, reactor=clock, timeout=_IDLE_SECONDS, parsePOSTFormSubmission=False
        )
        self.limits = limits
        self.counters = counters
        self._admission = admission
        self.open_cors = open_cors
        self._is_proxy = is_proxy

    def log(self, request: Any) -> None:
        """Keep no access log: its line would cost a tenth of a request and hold tokens."""

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Admit a connection, or close it at once: to refuse it in words, its request would have to be read."""
        host = host_of(addr)
        try:
            slot = self._admission.enter(host, count_address=not self._is_proxy(host))
        except TooManyConnections as refusal:
            self.counters.refused(refusal, f"http {host}")
            return None
        channel: Any = super().buildProtocol(addr)
        channel.slot = slot
        return channel


def _origin_form(target: bytes) -> bytes:
    """Take scheme and authority from a target in absolute form (RFC 9112, section 3.2.2)."""
    rest = _AUTHORITY.sub(b"", target, count=1)
    return rest if rest.startswith(b"/") or rest == target else b"/" + rest


def host_of(address: IAddress | None) -> str | None:
    """Give the host of an address, if it has one."""
    return address.host if isinstance(address, IPv4Address | IPv6Address) else None


def json_error(refusal: Refusal) -> bytes:
    """Encode a refusal as the contract's JSON."""
    return encode({"error": {"code": refusal.code, "message": str(refusal)}}) + b"\n"


def error_body(request: Request, refusal: Refusal) -> tuple[bytes, bytes]:
    """Give the type and the bytes of a refusal: JSON, or one line of text for ``Accept: text/plain``."""
    if prefers_text(request):
        return b"text/plain; charset=utf-8", f"{refusal.code}: {refusal}\n".encode()
    return JSON, json_error(refusal)


def prefers_text(request: Request) -> bool:
    """Tell whether the client asked for plain text and not for JSON."""
    accept = request.getHeader(b"Accept") or b""
    return b"text/plain" in accept and b"json" not in accept


def _fault_of(request: Request, version: bytes) -> str | None:
    """Find what Twisted lets pass and the standard does not (RFC 9112, sections 3.2 and 6.1)."""
    hosts = request.requestHeaders.getRawHeaders(b"Host", [])
    if len(hosts) > 1 or (version == b"HTTP/1.1" and not hosts):
        return "a request has one Host (RFC 9112, section 3.2)"
    if hosts and hosts[0] and not _HOST.fullmatch(hosts[0]):
        return "Host is a name or an address, and a port (RFC 9110, section 7.2)"
    if version != b"HTTP/1.1" and request.requestHeaders.hasHeader(b"Transfer-Encoding"):
        return "only HTTP/1.1 has transfer codings (RFC 9112, section 6.1)"
    return None
