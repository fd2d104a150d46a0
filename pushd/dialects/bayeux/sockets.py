"""Bayeux over WebSocket: each text frame is an envelope. Messages are sent with the answers of connects."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from pushd.core.errors import BadCommand, InternalError, NoRoom, Refusal, TooLarge, TooLate
from pushd.core.peer import Peer
from pushd.dialects.bayeux.connects import HeldConnect
from pushd.dialects.bayeux.envelope import array, parse
from pushd.dialects.bayeux.operations import Operations
from pushd.http.request import Request
from pushd.http.resource import HttpContext
from pushd.net.admission import Slot
from pushd.net.coarse_timers import CoarseTimers
from pushd.net.eager_task import run_eagerly
from pushd.transports.websocket_handshake import accept, checked_key
from pushd.transports.websocket_reader import READER_REFUSALS, FrameReader, FrameReaderPool
from pushd.wire.websocket_frames import TEXT, frame

TRANSPORT: Final = "bayeux-websocket"
_CLOSE_SECONDS: Final = 5.0
_IDLE_SECONDS: Final = 300.0
"""Seconds without a frame of the client after which its socket is closed, as by CometD; connects are more frequent."""
_PIECE: Final = 64
"""Bytes of memory that each received piece of a frame takes besides its data."""


@implementer(IPushProducer)
class BayeuxSocket:
    """A WebSocket. It is not read while it does not read, or while its envelopes are executed."""

    __slots__ = (
        "_envelopes",
        "_held",
        "_held_bytes",
        "_is_busy",
        "_is_closing",
        "_is_full",
        "_reader",
        "_slots",
        "_sockets",
        "due",
        "is_incomplete",
        "peer",
        "transport",
    )

    def __init__(self, sockets: "Sockets", peer: Peer, extra_slot: Slot | None) -> None:
        self.peer = peer
        self.due = 0
        self.is_incomplete = False
        """Whether it has received a part of a message."""
        self.transport: Any = None
        self._sockets = sockets
        self._slots = [slot for slot in (extra_slot,) if slot is not None]
        self._envelopes: deque[bytes] = deque()
        self._held: set[HeldConnect] = set()
        """The connects of its sessions."""
        self._held_bytes = 0
        """Bytes of an incomplete message that are charged to the memory budget."""
        self._is_busy = self._is_full = self._is_closing = False
        self._reader: FrameReader | None = None

    def begin(self, request: Request) -> None:
        """Take the connection over, and accept the handshake."""
        connection, head = request.detach(self)
        self.transport = connection.transport
        self._slots.append(connection.slot)
        self.transport.registerProducer(self, True)
        self.transport.write(head)
        if connection.unread:
            self.dataReceived(connection.unread)

    # From the transport

    def dataReceived(self, data: bytes) -> None:
        """Parse received bytes."""
        sockets = self._sockets
        reader = self._reader = self._reader or sockets.readers.lend(self)
        reader.read(data)
        if reader.is_at_rest:
            self._reader = None
            sockets.readers.give_back(reader)
            self._hold(0)
        elif reader.is_well:
            self._hold(self._held_bytes + len(data) + _PIECE)
        elif not self._is_closing:
            refusal = READER_REFUSALS.get(reader.closed_with)
            if refusal is not None:
                sockets.context.counters.count_refusal(refusal, self.peer)
            self._end()
        self._pause_or_read()

    def message(self, payload: bytes, is_binary: bool) -> None:
        """Called with each received message."""
        if self._is_closing:
            return
        self._sockets.touch(self)
        self._hold(0)
        if is_binary:
            self.close(BadCommand("binary frames are not accepted: an envelope must be a text frame"))
            return
        self._envelopes.append(payload)
        if not self._is_busy:
            self._is_busy = True
            run_eagerly(self._execute_all(), self._on_error)

    def connectionLost(self, reason: Failure) -> None:
        """Connection lost: release everything."""
        self._hold(0)
        if self._reader is not None:
            self._reader.lost(reason)
        if not self._is_closing:
            self._end()
        for slot in self._slots:
            slot.release()
        self._slots.clear()

    def pauseProducing(self) -> None:
        """Called when the send buffer is full: read and execute nothing more."""
        self._is_full = True
        self._pause_or_read()

    def resumeProducing(self) -> None:
        """Called when the send buffer is empty again."""
        self._is_full = False
        if self._envelopes and not self._is_busy and not self._is_closing:
            self._is_busy = True
            run_eagerly(self._execute_all(), self._on_error)
        self._pause_or_read()

    def stopProducing(self) -> None:
        """Called when the connection is lost; ignored, since `connectionLost` is called as well."""

    # Envelopes

    async def _execute_all(self) -> None:
        operations = self._sockets.operations
        try:
            while self._envelopes and not (self._is_closing or self._is_full):
                exchange = await operations.execute(parse(self._envelopes.popleft()), self.peer)
                if exchange.replies:
                    self._send(exchange.replies)
                if exchange.connect is not None and not self._is_closing:
                    held = operations.hold(exchange.connect, TRANSPORT, self._send)
                    self._held = {each for each in self._held if not each.is_done}
                    if not held.is_done:
                        self._held.add(held)
        except Refusal as refusal:
            self.close(refusal)
        finally:
            self._is_busy = False
        self._pause_or_read()

    def _send(self, parts: Sequence[bytes]) -> None:
        if not self._is_closing:
            self.transport.write(frame(TEXT, array(parts)))

    def _pause_or_read(self) -> None:
        if self._is_closing or self.transport is None:
            return
        if self._is_full or self._is_busy:
            self.transport.pauseProducing()
        else:
            self.transport.resumeProducing()

    def _hold(self, size: int) -> None:
        """Charge `size` bytes of an incomplete message to the memory budget."""
        if size == self._held_bytes:
            return
        sockets = self._sockets
        try:
            if size > 8 * sockets.readers.most:
                raise TooLarge("message is split into too many frames: send it in fewer")
            self._held_bytes = sockets.context.limits.queue.budget.grow(self._held_bytes, size, self)
        except (NoRoom, TooLarge) as refusal:
            self.close(refusal)
            return
        sockets.wait_for_rest(self, is_incomplete=size > 0)

    # The end

    def release_for(self, refusal: Refusal) -> None:
        """Called when the memory budget is exceeded; see `pushd.core.budget.Holder`."""
        self.close(refusal)

    def expire(self) -> None:
        """Called when no frame, or not the rest of one, was received in time."""
        self.close(TooLate("no complete frame was received in time"))

    def close(self, why: Refusal) -> None:
        """Close with the code and reason of a refusal."""
        if self._is_closing:
            return
        self._sockets.context.counters.count_refusal(why, self.peer)
        self._end()
        self._hold(0)
        self.transport.unregisterProducer()
        self.transport.resumeProducing()  # to read the answer to the close frame
        self._reader = self._reader or self._sockets.readers.lend(self)
        self._reader.close(why)
        self._sockets.clock.callLater(_CLOSE_SECONDS, self.transport.abortConnection)

    def _end(self) -> None:
        """Forget the connects: the sessions go on with other connections."""
        self._is_closing = True
        self._envelopes.clear()
        self._sockets.remove(self)
        for held in self._held:
            held.forget()
        self._held.clear()

    def _on_error(self, failure: Failure) -> None:
        self._sockets.log.failure("{peer}: an envelope failed with an internal error", failure, peer=self.peer)
        self.close(InternalError("internal error; the log of the daemon has the details"))


class Sockets:
    """All WebSockets of Bayeux."""

    log = Logger()

    def __init__(self, context: HttpContext, operations: Operations, clock: IReactorTime) -> None:
        self.context = context
        self.operations = operations
        self.clock = clock
        self.readers = FrameReaderPool(clock, context.limits.message, _CLOSE_SECONDS)
        self._timers = CoarseTimers(clock)
        self._open: dict[BayeuxSocket, None] = {}

    def open(self, request: Request) -> None:
        """Accept the handshake of a request."""
        key = checked_key(request)
        self.context.check_origin(request)
        peer = self.context.peer_of(request, TRANSPORT)
        socket = BayeuxSocket(self, peer, self.context.admit_stream(request))
        self._open[socket] = None
        self._timers.start(socket, _IDLE_SECONDS)
        self.context.counters.connections[TRANSPORT] += 1
        accept(request, key, None, is_v1=False)
        socket.begin(request)

    def touch(self, socket: BayeuxSocket) -> None:
        """Record that a frame was received."""
        self._timers.cancel(socket)
        self._timers.start(socket, _IDLE_SECONDS)

    def wait_for_rest(self, socket: BayeuxSocket, *, is_incomplete: bool) -> None:
        """Limit the time of an incomplete message, from its first bytes on."""
        if is_incomplete and not socket.is_incomplete:
            self._timers.cancel(socket)
            self._timers.start(socket, self.context.limits.upload)
        socket.is_incomplete = is_incomplete

    def remove(self, socket: BayeuxSocket) -> None:
        """Remove a socket that starts to close, or is lost."""
        if self._open.pop(socket, socket) is None:
            self._timers.cancel(socket)
            self.context.counters.connections[TRANSPORT] -= 1

    def renew(self, renew: Callable[[Peer], None]) -> None:
        """Renew the grants of all, after a reload, or check them for revocations; those that are not accepted any more
        are closed.
        """
        for socket in list(self._open):
            try:
                renew(socket.peer)
            except Refusal as refusal:
                socket.close(refusal)

    def reconfigure(self) -> None:
        """Apply the limits of the context to sockets that are opened from now on."""
        self.readers = FrameReaderPool(self.clock, self.context.limits.message, _CLOSE_SECONDS)

    def close_all(self, why: Refusal, *, busy: bool = True) -> None:
        """See `Transport`."""
        for socket in list(self._open):
            socket.close(why)
