"""The chunked transfer coding of HTTP/1.1 (RFC 9112, section 7.1), around any wire.

A chunk is encoded once for all subscribers, like the block inside it.
"""

from collections.abc import Sequence

from pushd.core.cursor import MessageId
from pushd.core.delivery import Wire
from pushd.core.message import Gap, Message

LAST_CHUNK = b"0\r\n\r\n"
"""The zero-length chunk that ends a body."""


def chunk(data: bytes) -> bytes:
    """Encode bytes as one chunk.

    :param data: not empty, since an empty chunk would end the body.
    """
    return b"%x\r\n%b\r\n" % (len(data), data)


class Chunked:
    """A wire that encodes each block of another wire as one chunk. Frames stay as the inner wire encodes them."""

    def __init__(self, wire: Wire) -> None:
        self.data_only = wire.data_only
        self.has_begin = wire.has_begin
        self.has_reply_to = wire.has_reply_to
        self.is_stateful = wire.is_stateful
        self.name = wire.name
        self._wire = wire
        self._chunked_wires: dict[Wire, Chunked] = {wire: self}
        """The chunked form of each state of a stateful wire, shared by all of them."""

    def begin(self, cursor: MessageId, connection: str) -> bytes:
        """Encode a start cursor with the inner wire."""
        return self._wire.begin(cursor, connection)

    def message(self, message: Message) -> bytes:
        """Encode a message with the inner wire."""
        return self._wire.message(message)

    def gap(self, gap: Gap) -> bytes:
        """Encode a gap with the inner wire."""
        return self._wire.gap(gap)

    def end(self, channel: str) -> bytes:
        """Encode the end of a channel with the inner wire."""
        return self._wire.end(channel)

    def expiring(self, at: int) -> bytes:
        """Encode the warning with the inner wire."""
        return self._wire.expiring(at)

    def expired(self, code: str) -> bytes:
        """Encode the last frame with the inner wire."""
        return self._wire.expired(code)

    def ping(self) -> bytes:
        """Encode a ping with the inner wire."""
        return self._wire.ping()

    def after(self, message: Message) -> "Chunked":
        """Return the chunked form of the wire that follows a message."""
        wire = self._wire.after(message)
        chunked = self._chunked_wires.get(wire)
        if chunked is None:
            chunked = self._chunked_wires[wire] = Chunked(wire)
            chunked._chunked_wires = self._chunked_wires
        return chunked

    def last(self) -> bytes:
        """Encode the end of the stream with the inner wire."""
        return self._wire.last()

    def block(self, frames: Sequence[bytes]) -> bytes:
        """Join frames to one chunk. Return ``b""`` if they are all empty."""
        data = self._wire.block(frames)
        return chunk(data) if data else b""
