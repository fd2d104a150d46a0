"""The chunked transfer coding of HTTP/1.1 (RFC 9112, section 7.1), around any wire.

The chunk is made once for all subscribers, as everything else of a block is.
"""

from collections.abc import Sequence

from pushd.core.delivery import Wire
from pushd.core.message import Gap, Message

LAST_CHUNK = b"0\r\n\r\n"
"""What closes a body."""


def chunk(data: bytes) -> bytes:
    """Frame bytes, which must not be empty, as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Chunked:
    """A wire whose blocks are chunks."""

    def __init__(self, wire: Wire) -> None:
        self.bare = wire.bare
        self.is_fluid = wire.is_fluid
        self.form = wire.form
        self._wire = wire
        self._following: dict[Wire, Chunked] = {wire: self}
        """The chunked forms of the wires to which a fluid one may lead, shared by them all."""

    def message(self, message: Message) -> bytes:
        """Encode a message, unframed: the chunk is around the block."""
        return self._wire.message(message)

    def gap(self, gap: Gap) -> bytes:
        """Encode a gap, unframed."""
        return self._wire.gap(gap)

    def end(self, channel: str) -> bytes:
        """Encode an end, unframed."""
        return self._wire.end(channel)

    def ping(self) -> bytes:
        """Encode a ping, unframed."""
        return self._wire.ping()

    def then(self, message: Message) -> "Chunked":
        """Give the chunked form of what follows a message."""
        wire = self._wire.then(message)
        following = self._following.get(wire)
        if following is None:
            following = self._following[wire] = Chunked(wire)
            following._following = self._following
        return following

    def last(self) -> bytes:
        """Encode what closes a stream, unframed."""
        return self._wire.last()

    def block(self, frames: Sequence[bytes]) -> bytes:
        """Join frames to a chunk; nothing where there is nothing in them."""
        data = self._wire.block(frames)
        return chunk(data) if data else b""
