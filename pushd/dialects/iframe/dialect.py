"""Iframe streaming as a dialect: ``GET /iframe/TOPICS?callback=parent.f``."""

from collections.abc import Mapping, Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource

from pushd.core.replay import StartPosition
from pushd.dialects.iframe.callback import check_callback
from pushd.dialects.iframe.wire import Scripts, preamble
from pushd.dialects.interface import DialectContext
from pushd.http.query import parameter
from pushd.http.request import Request
from pushd.http.resource import HttpContext
from pushd.hub.hub import Hub
from pushd.net.keepalive import Wheel
from pushd.transports.http_stream import StreamFormat, StreamResource
from pushd.transports.interface import Transport

_CONTENT_TYPE = b"text/html; charset=utf-8"


class _Page(StreamFormat):
    """The format of one page: its own first bytes, and the wires that all pages share."""

    def __init__(self, shared: StreamFormat, callback: bytes, seconds: float) -> None:
        self.content_type = shared.content_type
        self.plain, self.chunked = shared.plain, shared.chunked
        self.preamble = preamble(callback, seconds)


class IframeResource(StreamResource):
    """Endless pages."""

    transport_name = "iframe"
    parameters = frozenset({"callback", *StreamResource.parameters} - {"format"})

    def __init__(self, context: HttpContext, hub: Hub, clock: IReactorTime, wheel: Wheel) -> None:
        super().__init__(context, hub, clock, wheel)
        self._shared = StreamFormat(_CONTENT_TYPE, Scripts())

    def format_of(self, request: Request) -> StreamFormat:
        """See `StreamResource`."""
        return _Page(self._shared, check_callback(parameter(request, b"callback")), self.wheel.seconds)

    def set_headers(self, request: Request, stream_format: StreamFormat, opening: StartPosition | None = None) -> None:
        """See `StreamResource`. The page loads nothing; who may frame it is said by the headers of all answers."""
        super().set_headers(request, stream_format, opening)
        policy = b"default-src 'none'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
        request.setHeader(b"Content-Security-Policy", policy)
        request.setHeader(b"Referrer-Policy", b"no-referrer")


class Iframe:
    """Endless pages under ``/iframe``."""

    def __init__(self, context: DialectContext) -> None:
        pages = IframeResource(context.http, context.hub, context.clock, context.stream)
        self.routes: Mapping[bytes, Resource] = {b"iframe": pages}
        self.transports: Sequence[Transport] = (pages,)

    def stop(self) -> None:
        """See `Dialect`; there are no timers."""
