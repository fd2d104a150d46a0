"""WebSocket frames of a server (RFC 6455, section 5.2): bare data, or the JSON of the subprotocol ``pushd.v1``."""

import struct

from pushd.core.delivery import BareWire
from pushd.core.message import Gap, Message
from pushd.wire.jsons import encode_end, encode_gap, encode_message

TEXT, BINARY = 0x81, 0x82
"""First bytes: the last frame of its message, of that opcode, without an extension."""


def frame(first: int, payload: bytes) -> bytes:
    """Frame a payload, unmasked as a server's are."""
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


PING = frame(0x89, b"")
"""A ping (RFC 6455, section 5.5.2)."""


class BareFrames(BareWire):
    """A frame a message: text where it is text or JSON, else binary. It can tell nothing else."""

    def message(self, message: Message) -> bytes:
        """Frame the data."""
        return frame(BINARY if message.form == "binary" else TEXT, message.data)


class JsonFrames(BareFrames):
    """A text frame for each JSON message and control object."""

    bare = False

    def message(self, message: Message) -> bytes:
        """Frame the JSON message."""
        return frame(TEXT, encode_message(message))

    def gap(self, gap: Gap) -> bytes:
        """Frame the gap."""
        return frame(TEXT, encode_gap(gap))

    def end(self, channel: str) -> bytes:
        """Frame the end."""
        return frame(TEXT, encode_end(channel))
