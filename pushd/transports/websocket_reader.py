"""The WebSocket parser, by Autobahn: received frames, control frames, the closing handshake, and limits (RFC 6455,
sections 5 to 8).

A connection borrows a reader from a pool while it has an incomplete frame or message, or while it closes. So a
WebSocket that only receives messages costs hardly more than a stream of server-sent events. A reader for each
connection would take 8 KiB of memory and 1 ms of CPU time.
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

from pushd.core.errors import BadFrame, BadUtf8, Refusal, TooLarge

_SPARE = 16
"""The most idle readers in a pool. There are more readers only while more connections have incomplete messages."""
_REASON_BYTES = 123
"""The most bytes of the reason in a close frame (RFC 6455, section 5.5)."""
READER_REFUSALS: dict[int | None, Refusal] = {
    1002: BadFrame("invalid frame: frames must follow RFC 6455"),
    1007: BadUtf8("text is not valid UTF-8 (RFC 6455, section 8.1)"),
    1009: TooLarge("frame or message is too big: see the limit for messages"),
}
"""The refusal of each close code that a reader sends by itself."""


class FrameConsumer(Protocol):
    """A connection that receives messages from a `FrameReader`."""

    transport: Any

    def message(self, payload: bytes, is_binary: bool) -> None:
        """Called with each complete message."""


class FrameReader(WebSocketServerProtocol):
    """The protocol of Autobahn after the handshake, on a connection that another protocol owns."""

    connection: FrameConsumer
    transport: Any
    current_frame: Any
    utf8validator: Any
    closedByMe: bool
    remoteCloseCode: int | None
    _answers: list[bytes] | None = None
    """The frames that `read` has not sent yet; None outside it."""
    _sent = 0
    """Bytes that `read` has sent."""
    log = make_logger("error")
    """Only errors are logged: Autobahn logs two warnings without the peer for each invalid frame, so a peer could fill
    the disk. pushd counts them instead."""

    @property
    def is_well(self) -> bool:
        """Whether neither side has sent a close frame."""
        return bool(self.state == self.STATE_OPEN)

    @property
    def is_at_rest(self) -> bool:
        """Whether there is no incomplete frame or message, so that another connection may use it."""
        return self.is_well and not self.data and self.current_frame is None and not self.inside_message

    @property
    def closed_with(self) -> int | None:
        """The close code that this side has sent; None when it has sent none."""
        code: int | None = self.localCloseCode
        return code

    @property
    def has_peer_finished(self) -> bool:
        """Whether the peer has closed with code 1000, or without a code as browsers do when a page calls ``close()``.

        A page that is left closes with code 1001.
        """
        return not (self.is_well or self.closedByMe) and self.remoteCloseCode in (None, 1000)

    def read(self, data: bytes) -> int:
        """Parse received bytes; answer control frames, and close on an invalid frame.

        :return: the number of bytes that were sent. The answers to consecutive frames are sent together.
        """
        self._answers, self._sent = [], 0
        self._dataReceived(data)
        self._send_answers()
        self._answers = None
        return self._sent

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        """Send a frame; within `read`, together with the others."""
        if self._answers is None:
            self.transport.write(data)
        else:
            self._answers.append(data)

    def close(self, why: Refusal) -> None:
        """Start the closing handshake, with the code and the reason of a refusal."""
        reason = str(why).encode("utf-8")[:_REASON_BYTES]
        self.sendCloseFrame(why.close, reason.decode("utf-8", "ignore").encode("utf-8"))

    def lost(self, reason: Failure) -> None:
        """Connection lost."""
        self._connectionLost(reason)  # type: ignore[arg-type]

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Pass a complete message to the connection."""
        self._send_answers()
        self.connection.message(payload, isBinary)

    def dropConnection(self, abort: bool = False) -> None:
        """Close the connection. The producer is unregistered first: with one, the transport would never close."""
        self._send_answers()
        self.transport.unregisterProducer()
        super().dropConnection(abort)

    def _send_answers(self) -> None:
        if self._answers:
            block = b"".join(self._answers)
            self._answers.clear()
            self._sent += len(block)
            self.transport.write(block)


class Utf8:
    """An incremental UTF-8 validator with the interface of Autobahn's (RFC 6455, section 8.1), but faster."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def reset(self) -> None:
        """Start a new text."""
        self._decoder.reset()

    def validate(self, piece: bytes) -> tuple[bool, bool, int, int]:
        """Return whether the text so far is valid, whether it ends at a character boundary, and 0 for both offsets."""
        try:
            self._decoder.decode(piece)
        except UnicodeDecodeError:
            return False, False, 0, 0
        return True, not self._decoder.getstate()[0], 0, 0


class FrameReaderPool:
    """A pool of readers.

    :param most: the most bytes of a frame, and of a message.
    :param close_seconds: the seconds that a peer may take to answer a close frame.
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
        """Take back a reader that is at rest. One of another pool, which has other limits, is discarded."""
        if reader.factory is self._factory and len(self._spare) < _SPARE:
            del reader.connection
            reader.transport = None
            self._spare.append(reader)

    def _another(self) -> FrameReader:
        """Return a copy of the first reader: creating one costs a hundred times as much."""
        reader = copy.copy(self._first)
        reader.is_closed = Deferred()
        reader.send_queue = deque()
        reader.utf8validator = Utf8()
        return reader
