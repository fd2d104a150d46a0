"""Server-sent events: ``GET /sse/TOPICS`` (WHATWG HTML, section 9.2)."""

import random

from twisted.internet.interfaces import IReactorTime

from pushd.core.errors import BadParameter, Refusal, Stopping
from pushd.http.query import parameter
from pushd.http.request import Request
from pushd.http.resource import HttpContext
from pushd.hub.hub import Hub
from pushd.net.keepalive import Wheel
from pushd.transports.http_stream import StreamFormat, StreamResource
from pushd.wire.sse import PREAMBLE, RETRY, Sse, SseJson

_RETRY_MS = 3000


class SseResource(StreamResource):
    """Streams of events, whose data is the message's or, with ``?format=json``, the JSON message."""

    transport_name = "sse"

    def __init__(self, context: HttpContext, hub: Hub, clock: IReactorTime, wheel: Wheel, spread: float = 0.0) -> None:
        """`spread`: over so many seconds those come back whom a stop sends away, each at a moment of its own."""
        super().__init__(context, hub, clock, wheel)
        self.spread = spread
        preamble = PREAMBLE % _RETRY_MS
        self._formats = {
            None: StreamFormat(b"text/event-stream", Sse(), preamble),
            "json": StreamFormat(b"text/event-stream", SseJson(), preamble),
        }

    def retry_later(self, request: Request, refusal: Refusal) -> bytes:
        """Answer with a stream that ends at once: any error status would make an EventSource give up for ever."""
        self.context.counters.count_refusal(refusal, f"sse {self.context.client_of(request)}")
        request.setHeader(b"Content-Type", b"text/event-stream")
        request.setHeader(b"Cache-Control", b"no-cache, no-transform")
        return PREAMBLE % self._come_back_after(refusal)

    def farewell(self, refusal: Refusal) -> bytes:
        """Tell an EventSource that is to come back later when to do so: it heeds the line as it comes, and makes no
        event of it.
        """
        return b"" if refusal.retry_after is None else RETRY % self._come_back_after(refusal)

    def _come_back_after(self, refusal: Refusal) -> int:
        """Choose the milliseconds, so that those who are sent away together do not come back together."""
        seconds = refusal.retry_after or 1
        spread = self.spread if isinstance(refusal, Stopping) else seconds
        return round(1000 * (seconds + random.uniform(0, spread)))

    def format_of(self, request: Request) -> StreamFormat:
        """See `StreamDoor`."""
        shape = self._formats.get(parameter(request, b"format"))
        if shape is None:
            raise BadParameter("the format of events is json, or not given")
        return shape
