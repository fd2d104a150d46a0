"""Autobahn's part of a WebSocket: frames that come in, control frames, the closing handshake, and limits (RFC 6455,
sections 5 to 8).

A reader is lent to a connection while it has a part of a frame or of a message, or while it closes: mostly for a
moment. So a WebSocket that only listens costs hardly more than a stream of events. One with an Autobahn of its own
takes eight KiB, and a millisecond to begin.
"""

import codecs
import copy
from collections import deque
from typing import Any, Protocol

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from txaio.tx import make_logger

_SPARE = 16
"""Readers that wait to be lent. There are more only while more connections are amid a message."""


class FrameConsumer(Protocol):
    """A connection that reads."""

    transport: Any

    def message(self, payload: bytes, is_binary: bool) -> None:
        """Take a message."""


class FrameReader(WebSocketServerProtocol):
    """Autobahn's protocol behind the handshake, on a connection that is another's."""

    connection: FrameConsumer
    transport: Any
    current_frame: Any
    utf8validator: Any
    log = make_logger("error")
    """Autobahn warns of each broken frame, twice and without a name: a peer could fill the disk. pushd counts them."""

    @property
    def is_well(self) -> bool:
        """Whether neither side has said that it closes."""
        return bool(self.state == self.STATE_OPEN)

    @property
    def is_at_rest(self) -> bool:
        """Whether it holds nothing of a frame or message, and so may serve another connection."""
        return self.is_well and not self.data and self.current_frame is None and not self.inside_message

    @property
    def closed_with(self) -> int | None:
        """The code with which this side has closed."""
        code: int | None = self.localCloseCode
        return code

    def read(self, data: bytes) -> None:
        """Take bytes; answers control frames, and closes on what is not allowed."""
        self._dataReceived(data)

    def close(self, code: int, reason: bytes) -> None:
        """Begin the closing handshake."""
        self.sendCloseFrame(code, reason)

    def lost(self, reason: Failure) -> None:
        """Know that the connection is gone."""
        self._connectionLost(reason)  # type: ignore[arg-type]

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Hand a message over."""
        self.connection.message(payload, isBinary)

    def dropConnection(self, abort: bool = False) -> None:
        """Close; as long as a producer is registered, a transport that waits for its peer never would."""
        self.transport.unregisterProducer()
        super().dropConnection(abort)


class Utf8:
    """What Autobahn asks of text, piece by piece (RFC 6455, section 8.1), by Python's own decoder, which is quicker."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def reset(self) -> None:
        """Begin a text."""
        self._decoder.reset()

    def validate(self, piece: bytes) -> tuple[bool, bool, int, int]:
        """Tell of a text up to here whether it is valid and whether it ends with a letter; places are not told."""
        try:
            self._decoder.decode(piece)
        except UnicodeDecodeError:
            return False, False, 0, 0
        return True, not self._decoder.getstate()[0], 0, 0


class FrameReaderPool:
    """Lends readers.

    :param most: bytes of a frame, and of a message.
    :param close_seconds: how long a peer may take to answer a close.
    """

    def __init__(self, clock: IReactorTime, most: int, close_seconds: float) -> None:
        self.most = most
        factory = WebSocketServerFactory(server="", reactor=clock)
        factory.setProtocolOptions(
            webStatus=False,
            failByDrop=False,
            echoCloseCodeReason=False,
            maxFramePayloadSize=most,
            maxMessagePayloadSize=most,
            openHandshakeTimeout=0,
            closeHandshakeTimeout=close_seconds,
        )
        self._first = FrameReader()
        self._first.factory = self._factory = factory
        self._first._connectionMade()
        self._first.websocket_version = 13
        self._first.state = FrameReader.STATE_OPEN
        self._first.inside_message = False
        self._first.current_frame = None
        self._spare: list[FrameReader] = []

    def lend(self, connection: FrameConsumer) -> FrameReader:
        """Lend a reader to a connection."""
        reader = self._spare.pop() if self._spare else self._another()
        reader.connection = connection
        reader.transport = connection.transport
        return reader

    def give_back(self, reader: FrameReader) -> None:
        """Take a reader back that is at rest; one that others have lent, with limits of their own, goes."""
        if reader.factory is self._factory and len(self._spare) < _SPARE:
            del reader.connection
            reader.transport = None
            self._spare.append(reader)

    def _another(self) -> FrameReader:
        """Copy the first: to make one anew costs a hundred times as much."""
        reader = copy.copy(self._first)
        reader.is_closed = Deferred()
        reader.send_queue = deque()
        reader.utf8validator = Utf8()
        return reader
