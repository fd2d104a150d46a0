"""Multipart streams: ``GET /multipart/TOPICS`` for pages and live images, ``GET /mixed/TOPICS`` for programs."""

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
from pushd.wire.multipart import Mixed, Replace, ReplaceDocument, first_boundary

REPLACING_PAGE: Final = files(__package__).joinpath("replacing.html").read_bytes()
"""Reads a multipart stream by fetch and replaces itself by each part, which Chromium does only for images."""
_AHEAD = 32 << 10
"""Bytes that wait in the kernel for a viewer: what lies there can not be replaced by a newer frame any more."""
_VARY = b"Accept, Sec-Fetch-Mode, User-Agent"


def new_boundary() -> bytes:
    """Make a boundary for this process: letters and digits, 128 bits of chance."""
    return b"pushd" + secrets.token_hex(16).encode("ascii")


class ReplaceResource(StreamResource):
    """Streams of parts that replace each other: begin with the newest, and a slow viewer skips frames."""

    transport_name = "multipart"

    def __init__(self, context: HttpContext, hub: Hub, clock: IReactorTime, wheel: Wheel) -> None:
        super().__init__(context, hub, clock, wheel)
        boundary = new_boundary()
        content_type = b"multipart/x-mixed-replace;boundary=" + boundary
        self._format = StreamFormat(content_type, Replace(boundary), first_boundary(boundary))
        self._document = StreamFormat(content_type, ReplaceDocument(boundary), first_boundary(boundary))

    def format_of(self, request: Request) -> StreamFormat:
        """See `StreamDoor`."""
        return self._document if _is_navigation(request) else self._format

    def since_of(self, request: Request) -> Since:
        """Begin with the newest message, unless the client says otherwise."""
        since = since_of(request)
        return Last(1) if isinstance(since, Now) else since

    def policy_of(self, request: Request) -> Policy:
        """Skip frames, unless the client says otherwise."""
        return policy_of(request, Policy.LATEST)

    def limits(self) -> QueueLimits:
        """Keep no frame that there is a newer one for."""
        return replace(self.context.limits.queue, eager=True)

    def prepare(self, transport: Any) -> None:
        """Keep little in the kernel."""
        limit_unsent(transport, _AHEAD)

    async def get(self, request: Request) -> Answer:
        """Stream; where Chromium navigates to it, send a script that shows it: Chromium itself shows images only."""
        if b"Chrome/" in (request.getHeader(b"user-agent") or b"") and _is_navigation(request):
            request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
            request.setHeader(b"Cache-Control", b"no-store")
            request.addHeader(b"Vary", _VARY)
            return REPLACING_PAGE
        return await super().get(request)

    def set_headers(self, request: Request, shape: StreamFormat, opening: StartPosition | None = None) -> None:
        """See `StreamDoor`. What publishers write as HTML is shown, but may not act as a page of this daemon."""
        super().set_headers(request, shape, opening)
        request.addHeader(b"Vary", _VARY)
        request.setHeader(b"Content-Security-Policy", b"sandbox allow-scripts allow-forms allow-popups")


class MixedResource(StreamResource):
    """Streams of parts that all stay."""

    transport_name = "mixed"

    def __init__(self, context: HttpContext, hub: Hub, clock: IReactorTime, wheel: Wheel) -> None:
        super().__init__(context, hub, clock, wheel)
        boundary = new_boundary()
        self._format = StreamFormat(b"multipart/mixed;boundary=" + boundary, Mixed(boundary), first_boundary(boundary))

    def format_of(self, request: Request) -> StreamFormat:
        """See `StreamDoor`."""
        return self._format


def _is_navigation(request: Request) -> bool:
    mode = request.getHeader(b"sec-fetch-mode")
    # Browsers say the mode to https and to their own machine only. Elsewhere `Accept` tells: a page's fetch and an
    # <img> do not ask for HTML.
    return mode == b"navigate" if mode else b"text/html" in (request.getHeader(b"accept") or b"")
