"""Server-sent events: ``GET /sse/TOPICS`` (WHATWG HTML, section 9.2)."""

import random

from twisted.internet.interfaces import IReactorTime

from pushd.core.errors import LAPSED, BadParameter, Kicked, Refusal, Stopping, Unavailable
from pushd.http.query import is_reconnect, parameter
from pushd.http.request import Request
from pushd.http.resource import HttpContext
from pushd.hub.hub import Hub
from pushd.net.keepalive import Wheel
from pushd.transports.http_stream import StreamFormat, StreamResource
from pushd.wire.sse import PREAMBLE, RETRY, Sse, SseJson

_RETRY_MS = 3000
_RETRY_WITHOUT_CREDENTIAL_MS = 3_600_000
"""An EventSource reconnects with the same address and cookies: it will be refused again until the page has new ones."""


class SseResource(StreamResource):
    """Streams of events. The data of an event is that of the message or, with ``?format=json``, the JSON message."""

    transport_name = "sse"
    begins = True

    def __init__(self, context: HttpContext, hub: Hub, clock: IReactorTime, wheel: Wheel, spread: float = 0.0) -> None:
        """`spread`: the seconds over which the reconnects of clients are distributed after a shutdown."""
        super().__init__(context, hub, clock, wheel)
        self.spread = spread
        preamble = PREAMBLE % _RETRY_MS
        self._formats = {
            None: StreamFormat(b"text/event-stream", Sse(), preamble),
            "json": StreamFormat(b"text/event-stream", SseJson(), preamble),
        }

    def reconfigure(self, spread: float) -> None:
        """Change the seconds over which the reconnects of clients are distributed after a shutdown."""
        self.spread = spread

    def retry_later(self, request: Request, refusal: Refusal) -> bytes:
        """Return a stream that ends at once: after an error status an EventSource never reconnects."""
        self.context.counters.count_refusal(refusal, self.context.requester(request, "sse"))
        request.setHeader(b"Content-Type", b"text/event-stream")
        request.setHeader(b"Cache-Control", b"no-store, no-transform")
        return PREAMBLE % self._come_back_after(refusal)

    def refuse(self, request: Request, refusal: Refusal) -> None:
        """Answer a refused request. A reconnect whose credential has lapsed gets a stream that says so and ends: after
        an error status an EventSource tells the page nothing, and other clients reconnect in a loop. One whose
        credential cannot be checked at present gets a stream that ends at once, so that it tries again.
        """
        if isinstance(refusal, Unavailable) and request.method == b"GET":
            request.answer(self.retry_later(request, refusal))
            return
        if not (isinstance(refusal, LAPSED) and request.method == b"GET" and is_reconnect(request)):
            super().refuse(request, refusal)
            return
        self.context.counters.count_refusal(refusal, self.context.requester(request, "sse"))
        request.setHeader(b"Content-Type", b"text/event-stream")
        request.setHeader(b"Cache-Control", b"no-store, no-transform")
        request.answer(self.farewell(refusal) + self._formats[None].plain.expired(refusal.code))

    def farewell(self, refusal: Refusal) -> bytes:
        """Encode the `retry` line for an EventSource that has to reconnect later. It creates no event by itself."""
        if isinstance(refusal, LAPSED):
            return RETRY % _RETRY_WITHOUT_CREDENTIAL_MS
        has_delay = refusal.retry_after is not None and not isinstance(refusal, Kicked)
        return RETRY % self._come_back_after(refusal) if has_delay else b""

    def _come_back_after(self, refusal: Refusal) -> int:
        """Return the milliseconds until the reconnect, randomized so that clients do not reconnect all at once."""
        if isinstance(refusal, Kicked):
            return _RETRY_MS
        seconds = refusal.retry_after or 1
        spread = self.spread if isinstance(refusal, Stopping) else seconds
        return round(1000 * (seconds + random.uniform(0, spread)))

    def format_of(self, request: Request) -> StreamFormat:
        """See `StreamResource`."""
        stream_format = self._formats.get(parameter(request, b"format"))
        if stream_format is None:
            raise BadParameter("unknown format of events: must be json or omitted")
        return stream_format
