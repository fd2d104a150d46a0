"""Server-sent events: ``GET /sse/TOPICS`` (WHATWG HTML, section 9.2)."""

from twisted.internet.interfaces import IReactorTime

from pushd.core.errors import BadParameter, Refusal
from pushd.hub import Hub
from pushd.net.keepalive import Wheel
from pushd.transports.http import Rules
from pushd.transports.query import parameter
from pushd.transports.request import Request
from pushd.transports.streaming import Format, StreamDoor
from pushd.wire.sse import PREAMBLE, Sse, SseJson

_RETRY_MS = 3000


class SseDoor(StreamDoor):
    """Streams of events, whose data is the message's or, with ``?format=json``, the JSON message."""

    transport_name = "sse"

    def __init__(self, rules: Rules, hub: Hub, clock: IReactorTime, wheel: Wheel) -> None:
        super().__init__(rules, hub, clock, wheel)
        preamble = PREAMBLE % _RETRY_MS
        self._formats = {
            None: Format(b"text/event-stream", Sse(), preamble),
            "json": Format(b"text/event-stream", SseJson(), preamble),
        }

    def come_back(self, request: Request, refusal: Refusal) -> bytes:
        """Answer with a stream that ends at once: any error status would make an EventSource give up for ever."""
        self.rules.counters.refused(refusal, f"sse {self.rules.client_of(request)}")
        request.setHeader(b"Content-Type", b"text/event-stream")
        request.setHeader(b"Cache-Control", b"no-cache, no-transform")
        return PREAMBLE % (1000 * (refusal.retry_after or 1))

    def format_of(self, request: Request) -> Format:
        """See `StreamDoor`."""
        shape = self._formats.get(parameter(request, b"format"))
        if shape is None:
            raise BadParameter("the format of events is json, or not given")
        return shape
