"""WebSocket frames sent by a server (RFC 6455, section 5.2): data only, or the JSON of the subprotocol ``pushd.v1``."""

import struct

from pushd.core.cursor import MessageId
from pushd.core.delivery import DataOnlyWire
from pushd.core.message import Gap, Message
from pushd.wire.json_messages import encode_begin, encode_end, encode_expiring, encode_gap, encode_message

TEXT, BINARY = 0x81, 0x82
"""First bytes of an unfragmented frame: FIN set, no extension bits, and the opcode."""


def frame(first_byte: int, payload: bytes) -> bytes:
    """Encode an unmasked frame, with the shortest form of its length.

    :param first_byte: `TEXT`, `BINARY`, or FIN and another opcode.
    """
    size = len(payload)
    if size < 126:
        return bytes((first_byte, size)) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", first_byte, 126, size) + payload
    return struct.pack("!BBQ", first_byte, 127, size) + payload


PING = frame(0x89, b"")
"""A ping frame without a payload (RFC 6455, section 5.5.2)."""


class DataFrames(DataOnlyWire):
    """One frame per message: a text frame for text and JSON, else a binary frame. Gaps and ends are not encoded."""

    def message(self, message: Message) -> bytes:
        """Encode the data as one frame."""
        return frame(BINARY if message.encoding == "binary" else TEXT, message.data)


class JsonFrames(DataFrames):
    """One text frame for each JSON message and each control object."""

    data_only = False
    has_begin = True
    has_reply_to = True

    def begin(self, cursor: MessageId, connection: str) -> bytes:
        """Encode a start cursor as a text frame."""
        return frame(TEXT, encode_begin(cursor, connection))

    def message(self, message: Message) -> bytes:
        """Encode the JSON message as a text frame."""
        return frame(TEXT, encode_message(message))

    def gap(self, gap: Gap) -> bytes:
        """Encode a gap as a text frame."""
        return frame(TEXT, encode_gap(gap))

    def end(self, channel: str) -> bytes:
        """Encode the end of a channel as a text frame."""
        return frame(TEXT, encode_end(channel))

    def expiring(self, at: int) -> bytes:
        """Encode the warning as a text frame. The end is reported by the close code."""
        return frame(TEXT, encode_expiring(at))
