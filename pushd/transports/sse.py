"""Server-sent events: ``GET /sse/TOPICS`` (WHATWG HTML, section 9.2)."""

import random

from twisted.internet.interfaces import IReactorTime

from pushd.core.errors import BadParameter, Kicked, Refusal, Stopping, TokenExpired, TokenRevoked, Unavailable
from pushd.http.query import parameter, reconnect_cursor
from pushd.http.request import Request
from pushd.http.resource import HttpContext
from pushd.hub.hub import Hub
from pushd.net.keepalive import Wheel
from pushd.transports.http_stream import StreamFormat, StreamResource
from pushd.wire.sse import PREAMBLE, RETRY, Sse, SseJson, encode_expired

_RETRY_MS = 3000
_ENDED_RETRY_MS = 3_600_000
"""The reconnection time of a stream whose credential has ended, which the page has to replace."""
_ENDED = (TokenExpired, TokenRevoked)
"""The refusals of a credential that was accepted before."""


def _is_reconnect(request: Request) -> bool:
    """Return whether a request has a valid cursor of a reconnect."""
    try:
        return reconnect_cursor(request) is not None
    except Refusal:
        return False


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
        self.context.counters.count_refusal(refusal, f"sse {self.context.client_of(request)}")
        request.setHeader(b"Content-Type", b"text/event-stream")
        request.setHeader(b"Cache-Control", b"no-store, no-transform")
        return PREAMBLE % self._come_back_after(refusal)

    def refuse(self, request: Request, refusal: Refusal) -> None:
        """Answer a refused request.

        An EventSource that reconnects while its credential cannot be checked has to try again, and one whose credential
        has ended must not: after an error status, pages do not learn the reason, and other clients retry at once.
        """
        is_get = request.method == b"GET"
        if is_get and isinstance(refusal, Unavailable):
            request.answer(self.retry_later(request, refusal))
        elif is_get and isinstance(refusal, _ENDED) and _is_reconnect(request):
            request.answer(self.retry_later(request, refusal) + encode_expired(refusal.code))
        else:
            super().refuse(request, refusal)

    def farewell(self, refusal: Refusal) -> bytes:
        """Encode what an EventSource receives before its stream ends: an event if its credential has ended, else the
        `retry` line if it has to reconnect later.
        """
        if isinstance(refusal, _ENDED):
            return RETRY % self._come_back_after(refusal) + encode_expired(refusal.code)
        has_delay = refusal.retry_after is not None and not isinstance(refusal, Kicked)
        return RETRY % self._come_back_after(refusal) if has_delay else b""

    def _come_back_after(self, refusal: Refusal) -> int:
        """Return the milliseconds until the reconnect, randomized so that clients do not reconnect all at once."""
        if isinstance(refusal, Kicked):
            return _RETRY_MS
        if isinstance(refusal, _ENDED):
            return _ENDED_RETRY_MS
        seconds = refusal.retry_after or 1
        spread = self.spread if isinstance(refusal, Stopping) else seconds
        return round(1000 * (seconds + random.uniform(0, spread)))

    def format_of(self, request: Request) -> StreamFormat:
        """See `StreamResource`."""
        stream_format = self._formats.get(parameter(request, b"format"))
        if stream_format is None:
            raise BadParameter("unknown format of events: must be json or omitted")
        return stream_format
