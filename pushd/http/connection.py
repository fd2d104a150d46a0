"""An HTTP connection: it answers the requests that it has read, one after the other (RFC 9112)."""

from typing import Any, Final

from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from pushd.core.errors import NoRoom, Refusal, TooLate
from pushd.http.connection_state import READ_AHEAD, ConnectionState
from pushd.http.errors import render_refusal
from pushd.http.interface import HttpSite
from pushd.http.request import DetachedConnection, Request
from pushd.http.request_reader import RequestReader
from pushd.http.states import (
    ANSWERING,
    BODY,
    BUFFERING,
    CLOSED,
    DETACHED,
    ENDED,
    HELD,
    IDLE,
    LINGERING,
    NEW,
    QUEUED,
    READY,
    transition,
)
from pushd.net.addresses import host_of
from pushd.net.admission import Slot
from pushd.net.low_priority import prioritize
from pushd.net.sockets import attach_protocol

_SLICE_SECONDS: Final = 0.005
"""How long the requests of one connection are answered in one reactor turn."""


@implementer(IHalfCloseableProtocol)
class HttpConnection(ConnectionState):
    """A connection: its reader fills the queue of requests, which are answered in order."""

    __slots__ = ("_current", "_is_serving", "_reader", "peer", "slot")

    def __init__(self, site: HttpSite, peer: IAddress | None, slot: Slot) -> None:
        super().__init__(site)
        self.peer = peer
        self.slot = slot
        self._reader: RequestReader | None = None
        """Created when bytes are received, and released while a request is held: it is larger than all else here."""
        self._current: Request | None = None
        """The request that is being answered."""
        self._is_serving = False
        """Whether `_serve` runs, so that an answer given at once does not call it again."""

    @property
    def date(self) -> bytes:
        """The header lines that all answers of this second share."""
        return self._site.date()

    # From the transport

    def makeConnection(self, transport: Any) -> None:
        """Begin to wait for a request."""
        self._attach_transport(transport)
        self._update()

    def dataReceived(self, data: bytes) -> None:
        """Parse received bytes, or keep them until the request before them is answered."""
        if self.answering is HELD:
            self._receive_after_held(data)
        elif self.reading is BUFFERING:
            self.buffered += data
            self._update()
        elif self.reading is not ENDED:
            (self._reader or self._make_reader()).feed(data)
            self._serve()

    def readConnectionLost(self) -> None:
        """Called when the client sends nothing more: answer its requests, but not a held one, since a browser leaves in
        this way.
        """
        last = self.queue[-1] if self.queue else self._current
        if last is None or self.answering is HELD:
            self._close()
            return
        last.closes_connection = True
        if self.reading is not BUFFERING:
            self._end_reading()
        self._update()

    def writeConnectionLost(self) -> None:
        """Called when nothing more can be sent; `connectionLost` follows."""

    def connectionLost(self, reason: Failure) -> None:
        """Connection lost: release everything."""
        self.answering = transition(self.answering, CLOSED)
        self._end_reading()
        self.queue.clear()
        self._detach_transport()
        self.slot.release()
        self._disconnect_current()

    def pauseProducing(self) -> None:
        """Called when the transport has enough to send: answer no further request."""
        self._is_write_paused = True

    def resumeProducing(self) -> None:
        """Called when everything is sent: answer the next request."""
        self._is_write_paused = False
        self._charge_unsent(0)
        self._serve()

    def stopProducing(self) -> None:
        """Called when the connection is lost; `connectionLost` does the rest."""

    # From a request

    def answered(self, block: bytes, is_last: bool) -> None:
        """Send an answer, then answer the next request or close."""
        self._current = None
        self.answering = transition(self.answering, READY)
        self.transport.write(block)
        try:
            if self._is_write_paused:
                self._charge_unsent(self._unsent + len(block))
        except NoRoom as refusal:
            self._abort(refusal)
            return
        if is_last:
            self._close()
        elif not self._is_serving:
            self._serve()

    def release_parser(self) -> None:
        """Release the parser, unless it has read a request in part."""
        if self._reader is not None and not self.is_mid_request:
            self._reader.close()
            self._reader = None

    def held(self) -> None:
        """Called when the request that is being answered is held: read on, within limits."""
        self.answering = transition(self.answering, HELD)
        if not self._is_serving:
            self._update()

    @property
    def is_stopping(self) -> bool:
        """Whether the daemon stops, so that the connection is to close after the next answer."""
        return self._site.is_stopping

    def abort(self) -> None:
        """Close the connection at once, although a request is held."""
        self._linger()
        self.transport.abortConnection()
        self._update()

    def prioritize(self) -> None:
        """Read this connection before those that only subscribe."""
        prioritize(self.transport)

    def detach(self, peer: Any) -> DetachedConnection:
        """Leave the connection to another protocol."""
        transport, unread = self.transport, self.buffered
        transport.unregisterProducer()
        attach_protocol(transport, peer)
        if self._is_read_paused:
            self._is_read_paused = False
            transport.resumeProducing()
        self._current, self.buffered = None, b""
        self.answering = transition(self.answering, DETACHED)
        if self.reading is BUFFERING:
            self.reading = transition(self.reading, IDLE)
        give_back = self.resume if self.queue and not self.is_mid_request else self._site.resume
        if self.is_mid_request:
            self._end_reading()
        else:
            self.release_parser()
        self._detach_transport()
        return DetachedConnection(transport, self.slot, unread, give_back)

    def resume(self, transport: Any, slot: Slot, early: bytes) -> None:
        """Take the connection back; see `DetachedConnection`."""
        attach_protocol(transport, self)
        self.slot = slot
        if self.answering is DETACHED:
            self.answering = transition(self.answering, READY)
        if self.reading is not ENDED:
            self.reading = transition(self.reading, BUFFERING)
            self.buffered = early
        self._attach_transport(transport)
        self._serve()

    # From the deadlines and the site

    def head_timed_out(self) -> None:
        """Refuse a head that is incomplete after its time."""
        self._refuse(TooLate(f"request headers must arrive within {self._site.limits.handshake:g} seconds"))

    def body_timed_out(self) -> None:
        """Refuse a body that is incomplete after its time, however steadily it is sent."""
        self._refuse(TooLate(f"request body must arrive within {self._site.limits.upload:g} seconds"))

    def idle_timed_out(self) -> None:
        """Close: no request or no piece of the body was received for a while, or no answer was read."""
        self._close()

    def close_if_idle(self) -> None:
        """Close, unless a body is being read."""
        if self.reading is not BODY:
            self._close()

    # Reading

    def _make_reader(self) -> RequestReader:
        if self.reading is NEW:
            self.reading = transition(self.reading, IDLE)
        self._reader = RequestReader(self, self._site)
        return self._reader

    def _receive_after_held(self, data: bytes) -> None:
        """Keep what follows a held request, so that it can be handed over, unless part of a request has been read. If
        it is too much, the request is to be answered at once.
        """
        self._read_ahead += len(data)
        current = self._current
        assert current is not None
        if self.is_mid_request:
            (self._reader or self._make_reader()).feed(data)
        elif self.reading is not ENDED:
            if self.reading is not BUFFERING:
                self.reading = transition(self.reading, BUFFERING)
            self.buffered += data
        self._update()
        if self._read_ahead > READ_AHEAD and current.hurry is not None:
            current.hurry()

    def _refuse(self, refusal: Refusal) -> None:
        """Refuse the request that is being read, once the requests before it are answered."""
        (self._reader or self._make_reader()).refuse(refusal)
        self._serve()

    def _end_reading(self) -> None:
        """Read nothing more, and drop an incomplete request."""
        if self.reading is not ENDED:
            self.reading = transition(self.reading, ENDED)
        self.buffered = b""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    # Answering

    def _serve(self) -> None:
        """Answer the queued requests, one after the other, and parse the bytes buffered after them."""
        if self._is_serving:
            return
        self._is_serving = True
        clock = self._site.clock
        until = clock.seconds() + _SLICE_SECONDS
        try:
            while self.answering is READY and not self._is_write_paused:
                if self.queue:
                    if clock.seconds() > until:
                        self.answering = transition(self.answering, QUEUED)
                        self._site.slices.next_turn().addCallback(lambda _: self._next_slice())
                        break
                    request = self.queue.pop(0)
                    self._read_ahead = 0
                    if request.refusal is None:
                        self._current = request
                        self.answering = transition(self.answering, ANSWERING)
                        request.resource.render(request)
                    else:
                        self._send_refusal(request, request.refusal)
                elif self.reading is BUFFERING:
                    self.reading = transition(self.reading, IDLE)
                    data, self.buffered = self.buffered, b""
                    if data:
                        (self._reader or self._make_reader()).feed(data)
                else:
                    break
        finally:
            self._is_serving = False
        if self.transport is not None:
            if self.reading is BODY:
                self._continue()
            self._update()

    def _continue(self) -> None:
        """Send ``100 Continue`` if the client waits for it and its request is the next one to be answered (RFC 9110,
        section 10.1.1).
        """
        reader = self._reader
        if self.answering is READY and not self.queue and reader is not None and reader.take_expectation():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _next_slice(self) -> None:
        if self.answering is QUEUED:
            self.answering = transition(self.answering, READY)
            self._serve()

    def _send_refusal(self, request: Request, refusal: Refusal) -> None:
        """Answer a refused request, and close once the client has read the answer."""
        site, transport = self._site, self.transport
        site.counters.count_refusal(refusal, f"http {host_of(self.peer)}")
        site.open_cors(request)
        block = request.encode(self.date, render_refusal(request, refusal))
        request.log_answer(len(block))
        transport.write(block)
        self._linger()
        if hasattr(transport, "loseWriteConnection"):
            transport.loseWriteConnection()
        else:
            transport.loseConnection()

    # The end

    def _close(self) -> None:
        """Close once everything is sent. Neither a held request nor the queued ones are answered."""
        if self.answering is not LINGERING:
            self._linger()
        self.transport.loseConnection()
        self._update()
        self._disconnect_current()

    def _abort(self, refusal: Refusal) -> None:
        """Close at once: there is no room for unsent answers."""
        self._site.counters.count_refusal(refusal, f"http {host_of(self.peer)}")
        self._linger()
        self.transport.abortConnection()
        self._update()

    def _linger(self) -> None:
        """Read and answer no further request."""
        self.answering = transition(self.answering, LINGERING)
        self._end_reading()
        self.queue.clear()
        self.transport.unregisterProducer()

    def _disconnect_current(self) -> None:
        """Notify the request that is being answered, if there is one, that its client has left."""
        current, self._current = self._current, None
        if current is not None:
            current.disconnected()
