"""A WebSocket that is opened only to be closed with the reason: pages cannot read the status of a refused handshake."""

from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from pushd.core.errors import UNAUTHORIZED, RateLimited, Refusal, TooManyConnections, TooManySubscriptions
from pushd.http.access_log import AccessLog
from pushd.http.request import Request
from pushd.http.resource import HttpContext
from pushd.net.admission import Slot
from pushd.transports.backpressure import CLOSE_SECONDS
from pushd.transports.websocket_handshake import accept, checked_key, offers_v1
from pushd.transports.websocket_reader import FrameReaderPool

_MOST_BYTES: Final = 64 << 10
"""The most bytes that are read until the peer has answered the close frame: commands that it has sent meanwhile."""
_REPORTED: Final = *UNAUTHORIZED, RateLimited, TooManyConnections, TooManySubscriptions
"""The refusals that are reported in a close frame: they are about the credential and its quota."""


def close_refused(
    request: Request, refusal: Refusal, context: HttpContext, readers: FrameReaderPool, clock: IReactorTime
) -> Refusal | None:
    """Accept a refused handshake, and close with the code of the refusal, if it is about the credential or its quota,
    and the subprotocol is offered.

    :return: None when that was done; else the refusal for an answer of HTTP, which is another one when the handshake
        would be refused with any credential.
    """
    if not isinstance(refusal, _REPORTED) or not offers_v1(request) or request.is_disconnected:
        return refusal
    peer = context.requester(request, "websocket")
    try:
        key = checked_key(request)
        context.check_origin(request)
        slot = context.admit_stream(request)
    except Refusal as other:
        return other
    context.counters.count_refusal(refusal, peer)
    accept(request, key, None, is_v1=True)
    RefusedWebSocket(readers, context.access, str(peer), slot).begin(request, refusal, clock)
    return None


class RefusedWebSocket:
    """The protocol of a connection whose handshake was accepted for a close frame. Commands are not executed.

    :param label: the label of the peer in the access log.
    :param slot: the slot of a client behind a proxy; None if there is none.
    """

    __slots__ = ("_access", "_label", "_left", "_reader", "_slots", "_timer", "transport")

    def __init__(self, readers: FrameReaderPool, access: AccessLog, label: str, slot: Slot | None) -> None:
        self.transport: Any = None
        self._access = access
        self._label = label
        self._left = _MOST_BYTES
        self._slots = [] if slot is None else [slot]
        self._reader = readers.lend(self)

    def begin(self, request: Request, refusal: Refusal, clock: IReactorTime) -> None:
        """Take the connection over, accept the handshake, and close."""
        connection, head = request.detach(self)
        self._slots.append(connection.slot)
        self.transport = self._reader.transport = connection.transport
        self._timer = clock.callLater(CLOSE_SECONDS, self.transport.abortConnection)
        self.transport.write(head)
        self._reader.close(refusal)
        if connection.unread:
            self.dataReceived(connection.unread)

    def dataReceived(self, data: bytes) -> None:
        """Wait for the close frame of the peer, after which the reader closes the connection."""
        self._left -= len(data)
        if self._left < 0:
            self.transport.abortConnection()
        else:
            self._reader.read(data)

    def message(self, payload: bytes, is_binary: bool) -> None:
        """Called with each received message: ignore it."""

    def connectionLost(self, reason: Failure) -> None:
        """Connection lost: release everything."""
        if self._timer.active():
            self._timer.cancel()
        self._reader.lost(reason)
        for slot in self._slots:
            slot.release()
        self._access.stream_closed(self, self._label)
