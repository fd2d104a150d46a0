"""Multipart streams: ``GET /multipart/TOPICS`` for pages and live images, ``GET /mixed/TOPICS`` for programs (RFC 2046,
section 5.1).
"""

import secrets
from dataclasses import replace
from importlib.resources import files
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime

from pushd.core.cursor import Last, Now, Since
from pushd.core.outbox import Policy, QueueLimits
from pushd.core.replay import StartPosition
from pushd.http.query import policy_of, since_of
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext
from pushd.hub.hub import Hub
from pushd.net.keepalive import Wheel
from pushd.net.sockets import limit_unsent
from pushd.transports.http_stream import StreamFormat, StreamResource
from pushd.wire.multipart import Mixed, Replace, ReplaceDocument, ReplaceSized, first_boundary

REPLACING_PAGE: Final = files(__package__).joinpath("replacing.html").read_bytes()
"""A page that reads a multipart stream by fetch and shows each part. Chromium itself replaces only images."""
_AHEAD = 32 << 10
"""Bytes that may wait in the kernel for a client: they cannot be replaced by a newer part any more."""
_VARY = b"Accept, Sec-Fetch-Mode, User-Agent"


def new_boundary() -> bytes:
    """Return a new boundary: letters and digits, with 128 random bits."""
    return b"pushd" + secrets.token_hex(16).encode("ascii")


class ReplaceResource(StreamResource):
    """Streams of parts that replace each other: they begin with the newest message, and a slow client skips parts."""

    transport_name = "multipart"

    def __init__(self, context: HttpContext, hub: Hub, clock: IReactorTime, wheel: Wheel) -> None:
        super().__init__(context, hub, clock, wheel)
        boundary = new_boundary()
        content_type = b"multipart/x-mixed-replace;boundary=" + boundary
        self._format = StreamFormat(content_type, Replace(boundary), first_boundary(boundary))
        self._document = StreamFormat(content_type, ReplaceDocument(boundary), first_boundary(boundary))
        self._sized = StreamFormat(content_type, ReplaceSized(boundary), first_boundary(boundary))

    def format_of(self, request: Request) -> StreamFormat:
        """See `StreamResource`. Programs get parts with their length, browsers those that they show at once."""
        if not _is_browser(request):
            return self._sized
        return self._document if _is_navigation(request) else self._format

    def since_of(self, request: Request) -> Since:
        """Return the position from which a stream begins: the newest message, unless the client gives a cursor."""
        since = since_of(request)
        return Last(1) if isinstance(since, Now) else since

    def policy_of(self, request: Request) -> Policy:
        """Return the slow-consumer policy: `LATEST`, unless the client names another."""
        return policy_of(request) or Policy.LATEST

    def limits(self) -> QueueLimits:
        """Return the limits of a queue that drops each part when there is a newer one."""
        return replace(self.context.limits.queue, eager=True)

    def prepare(self, transport: Any) -> None:
        """Limit the bytes that wait in the kernel."""
        limit_unsent(transport, _AHEAD)

    async def get(self, request: Request) -> Answer:
        """Open a stream. Chromium shows only images, so a navigation of it gets a page that shows the parts."""
        if b"Chrome/" in (request.getHeader(b"user-agent") or b"") and _is_navigation(request):
            request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
            request.addHeader(b"Vary", _VARY)
            return REPLACING_PAGE
        return await super().get(request)

    def set_headers(self, request: Request, stream_format: StreamFormat, opening: StartPosition | None = None) -> None:
        """See `StreamResource`. HTML of publishers is sandboxed: it must not act as a page of this daemon."""
        super().set_headers(request, stream_format, opening)
        request.addHeader(b"Vary", _VARY)
        request.setHeader(b"Content-Security-Policy", b"sandbox allow-scripts allow-forms allow-popups")


class MixedResource(StreamResource):
    """Streams of parts that do not replace each other."""

    transport_name = "mixed"

    def __init__(self, context: HttpContext, hub: Hub, clock: IReactorTime, wheel: Wheel) -> None:
        super().__init__(context, hub, clock, wheel)
        boundary = new_boundary()
        self._format = StreamFormat(b"multipart/mixed;boundary=" + boundary, Mixed(boundary), first_boundary(boundary))

    def format_of(self, request: Request) -> StreamFormat:
        """See `StreamResource`."""
        return self._format


def _is_browser(request: Request) -> bool:
    """Return whether a request may be of a browser. All of them send ``Mozilla/`` in ``User-Agent``; the other headers
    count because a proxy may remove it.
    """
    if b"Mozilla/" in (request.getHeader(b"user-agent") or b"") or request.getHeader(b"sec-fetch-mode") is not None:
        return True
    accept = request.getHeader(b"accept") or b""
    return b"image/" in accept or b"text/html" in accept


def _is_navigation(request: Request) -> bool:
    mode = request.getHeader(b"sec-fetch-mode")
    # Browsers send the mode only over HTTPS and to their own machine. Otherwise `Accept` decides: fetch and <img> do
    # not ask for HTML.
    return mode == b"navigate" if mode else b"text/html" in (request.getHeader(b"accept") or b"")
