"""The event streams of faye: messages by server-sent events, while requests send the rest."""

from collections.abc import Sequence
from typing import Any, Final

from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from pushd.core.errors import NotFound, Refusal, TooManyConnections
from pushd.dialects.bayeux.browsers import Browsers
from pushd.dialects.bayeux.connects import Connects, HeldConnect, Outcome
from pushd.dialects.bayeux.envelope import array, encode_reply
from pushd.dialects.bayeux.operations import Operations
from pushd.dialects.bayeux.replies import AGAIN, error_of
from pushd.dialects.bayeux.session import Session
from pushd.http.request import Request
from pushd.http.resource import Answer, HttpContext
from pushd.net.admission import Slot
from pushd.net.keepalive import Wheel
from pushd.net.sockets import close_within
from pushd.wire.chunked import LAST_CHUNK, chunk

TRANSPORT: Final = "bayeux-eventsource"
_PREAMBLE: Final = b":\n"
_CLOSE_SECONDS: Final = 5.0


@implementer(IPushProducer)
class EventStream:
    """The event stream of a session: a connect that is held again and again, without the replies."""

    __slots__ = ("_held", "_is_chunked", "_is_full", "_session", "_slots", "_streams", "_transport", "last_write")

    def __init__(self, streams: "EventStreams", session: Session, slots: Sequence[Slot]) -> None:
        self.last_write = 0
        self._streams = streams
        self._session = session
        self._held: HeldConnect | None = None
        self._is_chunked = True
        self._is_full = False
        self._slots = list(slots)
        self._transport: Any = None

    def begin(self, request: Request) -> None:
        """Take the connection over."""
        self._is_chunked = not request.is_http10
        connection, head = request.detach(self)
        self._transport = connection.transport
        self._slots.append(connection.slot)
        self._transport.registerProducer(self, True)
        self._transport.write(head + self._framed(_PREAMBLE))
        self._session.stream = self
        self._wait()

    def dataReceived(self, data: bytes) -> None:
        """Ignore what the client sends after its request: it has other connections for it."""

    def connectionLost(self, reason: Failure) -> None:
        """Connection lost: the session goes on."""
        self._end()
        for slot in self._slots:
            slot.release()
        self._slots.clear()

    def pauseProducing(self) -> None:
        """Called when the send buffer is full: the history keeps what follows."""
        self._is_full = True
        if self._held is not None:
            self._held.forget()
            self._held = None

    def resumeProducing(self) -> None:
        """Called when the send buffer is empty again."""
        self._is_full = False
        self._wait()

    def stopProducing(self) -> None:
        """Called when the connection is lost; ignored, since `connectionLost` is called as well."""

    def ping(self) -> None:
        """Send a comment."""
        if not self._is_full:
            self._transport.write(self._framed(_PREAMBLE))

    def close(self, why: Refusal | None = None) -> None:
        """End the stream."""
        if self._transport is None or self not in self._streams.open_streams:
            return
        self._end()
        self._transport.unregisterProducer()
        if self._is_chunked:
            self._transport.write(LAST_CHUNK)
        close_within(self._transport, self._streams.clock, _CLOSE_SECONDS)

    def _wait(self) -> None:
        if self._is_full or self._held is not None or self not in self._streams.open_streams:
            return
        held = HeldConnect(self._streams.connects, self._session, TRANSPORT, self._on_outcome)
        self._held = held
        held.begin(self._streams.connects.sessions.settings.timeout)
        if held.is_done and self._held is held:
            self._held = None

    def _on_outcome(self, outcome: Outcome) -> None:
        self._held = None
        if outcome.refusal is not None:
            error = {"channel": "/meta/connect", "successful": False, "error": error_of(outcome.refusal)}
            self._write([encode_reply(error | {"advice": AGAIN})])
            self.close()
            return
        if outcome.messages:
            self._write(outcome.messages)
            self._streams.operations.on_sent(self._session)
        if self._session.stream is self:
            self._streams.clock.callLater(0, self._wait)

    def _write(self, parts: Sequence[bytes]) -> None:
        self.last_write = self._streams.wheel.now
        self._transport.write(self._framed(b"data: " + array(parts) + b"\n\n"))

    def _framed(self, data: bytes) -> bytes:
        return chunk(data) if self._is_chunked else data

    def _end(self) -> None:
        if self._session.stream is self:
            self._session.stream = None
        if self._held is not None:
            self._held.forget()
            self._held = None
        self._streams.remove(self)


class EventStreams:
    """All event streams of Bayeux."""

    def __init__(
        self,
        context: HttpContext,
        operations: Operations,
        connects: Connects,
        browsers: Browsers,
        clock: IReactorTime,
        wheel: Wheel,
    ) -> None:
        self.connects = connects
        self._browsers = browsers
        self.clock = clock
        self.wheel = wheel
        self.open_streams: dict[EventStream, None] = {}
        self._context = context
        self.operations = operations

    async def open(self, request: Request) -> Answer:
        """Open the stream of the session that the path names."""
        peer = self._context.peer_of(request, TRANSPORT)
        id = request.postpath[0].decode("latin-1") if request.postpath else ""
        session = await self.operations.find(id, peer)
        if session is None:
            raise NotFound("there is no such Bayeux session")
        if request.is_disconnected:
            return None
        if session.stream is not None:
            session.stream.close()
        if session.held is not None:
            session.held.release()  # it is replaced, and does not count
        browser = self._browsers.browser_of(request)
        if not self._browsers.has_room(browser):
            raise TooManyConnections("browser holds as many Bayeux sessions as it may: use long-polling")
        slots = self._browsers.slots_of(browser, self._context.admit_stream(request))
        stream = EventStream(self, session, slots)
        self.open_streams[stream] = None
        self._context.counters.connections[TRANSPORT] += 1
        request.setHeader(b"Content-Type", b"text/event-stream")
        request.setHeader(b"Cache-Control", b"no-store, no-transform")
        request.setHeader(b"X-Accel-Buffering", b"no")
        if not request.is_http10:
            request.setHeader(b"Transfer-Encoding", b"chunked")
        self.wheel.add(stream)
        stream.begin(request)
        return None

    def remove(self, stream: EventStream) -> None:
        """Remove a stream that ends; one that has ended is ignored."""
        if self.open_streams.pop(stream, stream) is None:
            self.wheel.remove(stream)
            self._context.counters.connections[TRANSPORT] -= 1

    def close_all(self, why: Refusal, *, busy: bool = True) -> None:
        """See `Transport`."""
        for stream in list(self.open_streams):
            stream.close(why)
