"""NDJSON streams: ``GET /stream/TOPICS``, with one message per line, as JSON or as its data alone."""

from twisted.internet.interfaces import IReactorTime

from pushd.core.errors import BadParameter
from pushd.http.query import parameter
from pushd.http.request import Request
from pushd.http.resource import HttpContext
from pushd.hub.hub import Hub
from pushd.net.keepalive import Wheel
from pushd.transports.http_stream import StreamFormat, StreamResource
from pushd.wire.ndjson import JsonLines, RawLines


class NdjsonResource(StreamResource):
    """Streams of lines: JSON messages or, with ``?format=raw``, the data alone."""

    transport_name = "stream"

    def __init__(self, context: HttpContext, hub: Hub, clock: IReactorTime, wheel: Wheel) -> None:
        super().__init__(context, hub, clock, wheel)
        lines = StreamFormat(b"application/x-ndjson", JsonLines())
        self._formats = {
            None: lines,
            "json": lines,
            "raw": StreamFormat(b"application/octet-stream", RawLines()),
        }

    def format_of(self, request: Request) -> StreamFormat:
        """See `StreamResource`."""
        stream_format = self._formats.get(parameter(request, b"format"))
        if stream_format is None:
            raise BadParameter("unknown format of a stream: must be json or raw")
        return stream_format
