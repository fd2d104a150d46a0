"""A WebSocket for Twisted, by Autobahn."""

import re
from collections import deque
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS

from ..core.address import Address
from ..core.interface import Closed, Connection, HttpRequest, HttpResponse
from ..errors import ConnectionFailed
from .optional import missing
from .twisted_http import TwistedHttp
from .websocket_options import CLOSE_SECONDS, SUBPROTOCOL

try:
    from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
except ImportError as error:
    raise missing("autobahn", "twisted", 'transport="websocket"') from error

_MOST_FRAMES = 16
"""The frames that are received ahead of the program; then the connection is not read, and the daemon queues."""
_NORMAL = 1000
_BODY_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,5})[ \t]*(?:\r\n|$)", re.IGNORECASE)
"""The length of the body of a refusal; one that is longer is not waited for."""


async def open_websocket(
    address: Address, http: TwistedHttp, request: HttpRequest, idle_seconds: float, max_message_bytes: int
) -> tuple[HttpResponse, Connection | None]:
    """See `core.interface.SubscriptionNetwork`."""
    headers = {name: value for name, value in request.headers.items() if name != "User-Agent"}
    factory: Any = WebSocketClientFactory(
        f"{address.websocket_origin}{request.target}",
        protocols=[SUBPROTOCOL],
        useragent=request.headers.get("User-Agent"),
        headers=headers,
        reactor=http.reactor,
    )
    factory.protocol = TwistedWebSocket
    factory.noisy = False
    factory.setProtocolOptions(
        maxMessagePayloadSize=max_message_bytes,
        openHandshakeTimeout=request.seconds,
        closeHandshakeTimeout=CLOSE_SECONDS,
        autoPingInterval=idle_seconds / 2,
        autoPingTimeout=idle_seconds / 2,
    )
    endpoint: Any = HostnameEndpoint(http.reactor, address.host, address.port)
    if address.is_secure:
        creator = http.policy.creatorForNetloc(address.host.encode("ascii"), address.port)
        endpoint = wrapClientTLS(creator, endpoint)
    try:
        websocket = cast(TwistedWebSocket, await endpoint.connect(factory))
    except Exception as error:
        if isinstance(error, CancelledError):
            raise
        raise ConnectionFailed(f"{address} cannot be reached: {error}") from error
    try:
        response = await websocket.handshake
    except CancelledError:
        websocket.transport.abortConnection()
        raise
    return response, websocket if response.status == 101 else None


class TwistedWebSocket(WebSocketClientProtocol):
    """A WebSocket."""

    transport: Any

    def __init__(self) -> None:
        super().__init__()
        self.handshake: Deferred[HttpResponse] = Deferred()
        """The response to the handshake."""
        self._frames: deque[str] = deque()
        self._is_paused = False
        self._end: Closed | ConnectionFailed | None = None
        self._waiter: Deferred[None] | None = None
        """Fires when something has arrived."""
        self._gone: Deferred[None] = Deferred()

    # From Autobahn

    def processHandshake(self) -> None:
        """Process the response once its body is complete: Autobahn drops the connection after the headers."""
        if _is_complete(bytes(self.data)):
            super().processHandshake()

    def onOpen(self) -> None:
        """Report the response."""
        self.handshake.callback(HttpResponse(101, dict(self.http_headers)))

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Keep a frame, and stop reading when the program is too slow."""
        self._frames.append(payload.decode("utf-8", "replace"))
        if len(self._frames) >= _MOST_FRAMES and not self._is_paused:
            self._is_paused = True
            self.transport.pauseProducing()
        self._wake()

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """Note how it has ended, and report a refusal of the handshake."""
        if self._end is None:
            self._end = ConnectionFailed("the connection was lost")
            if self.remoteCloseCode is not None:
                self._end = Closed(self.remoteCloseCode, self.remoteCloseReason or "")
        if not self.handshake.called:
            self._fail_handshake(reason)
        self._wake()
        if not self._gone.called:
            self._gone.callback(None)

    def _fail_handshake(self, reason: str | None) -> None:
        line = getattr(self, "http_status_line", "").split()
        if len(line) > 1 and line[1].isdigit() and line[1] != "101":
            _, _, body = self.data.partition(b"\r\n\r\n")
            self.handshake.callback(HttpResponse(int(line[1]), dict(self.http_headers), bytes(body)))
        else:
            self.handshake.errback(ConnectionFailed(f"the WebSocket was not opened: {reason}"))

    # As core.interface.Connection

    async def receive(self) -> bytes | str | Closed:
        """See `core.interface.Connection`. Nothing is lost when it is cancelled."""
        if not self._frames and self._end is None:
            waiter = self._waiter = Deferred()
            try:
                await waiter
            finally:
                self._waiter = None
        if self._frames:
            frame = self._frames.popleft()
            if self._is_paused and not self._frames and self._end is None:
                self._is_paused = False
                self.transport.resumeProducing()
            return frame
        if isinstance(self._end, ConnectionFailed):
            raise self._end
        assert self._end is not None
        return self._end

    async def send(self, text: str) -> None:
        """See `core.interface.Connection`."""
        if self._end is not None:
            raise ConnectionFailed("the connection was lost")
        self.sendMessage(text.encode("utf-8"))

    async def close(self) -> None:
        """Close it with code 1000, so that a member leaves at once, and wait for the answer."""
        if self._end is not None:
            return
        self._end = ConnectionFailed("the connection was closed")
        self._wake()
        if self._is_paused:
            self.transport.resumeProducing()
        self.sendClose(_NORMAL)
        await self._gone

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback(None)


def _is_complete(response: bytes) -> bool:
    """Return whether a response has all its headers, and its body if that has a length."""
    head, end, body = response.partition(b"\r\n\r\n")
    length = _BODY_LENGTH.search(head)
    return bool(end) and (length is None or len(body) >= int(length[1]))
