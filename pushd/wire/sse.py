"""Server-sent events (WHATWG HTML, section 9.2, "Server-sent events").

Lines end with LF only, and every block has data. Only the begin event and messages have an id, and so move a client's
cursor.
"""

import base64
import re
from collections.abc import Sequence

from pushd.core.cursor import MessageId
from pushd.core.delivery import StatelessWire
from pushd.core.message import Gap, Message
from pushd.wire.json_messages import (
    encode_begin,
    encode_end,
    encode_expired,
    encode_expiring,
    encode_gap,
    encode_message,
)

_LINE_END = re.compile(rb"\r\n|\r|\n")
RETRY = b"retry: %d\n"
"""The reconnection time in milliseconds. No blank line follows, since some clients dispatch an event for any block."""
PREAMBLE = b":\n" + RETRY
"""The first bytes of a stream: a comment, and the reconnection time in milliseconds as part of the first event."""


class Sse(StatelessWire):
    """One event per message, with the data of the message; binary data as base64."""

    data_only = False
    has_begin = True

    def begin(self, cursor: MessageId, connection: str) -> bytes:
        """Encode a start cursor as an event of type ``begin`` with the cursor as its id.

        It has data since Firefox ignores the id of an event without.
        """
        return b"event: begin\nid: %b\ndata: %b\n\n" % (str(cursor).encode("ascii"), encode_begin(cursor, connection))

    def message(self, message: Message) -> bytes:
        """Encode a message as an event, with an id unless it is ephemeral."""
        data = base64.b64encode(message.data) if message.encoding == "binary" else message.data
        return self._event(message, _LINE_END.split(data))

    def gap(self, gap: Gap) -> bytes:
        """Encode a gap as an event of type ``gap``, without an id."""
        return b"event: gap\ndata: " + encode_gap(gap) + b"\n\n"

    def end(self, channel: str) -> bytes:
        """Encode the end of a channel as an event of type ``end``, without an id."""
        return b"event: end\ndata: " + encode_end(channel) + b"\n\n"

    def expiring(self, at: int) -> bytes:
        """Encode the warning as an event of type ``expiring``, without an id."""
        return b"event: expiring\ndata: " + encode_expiring(at) + b"\n\n"

    def expired(self, code: str) -> bytes:
        """Encode an event of type ``expired``, without an id."""
        return b"event: expired\ndata: " + encode_expired(code) + b"\n\n"

    def ping(self) -> bytes:
        """Encode a ping as a comment."""
        return b":\n"

    @staticmethod
    def _event(message: Message, lines: Sequence[bytes]) -> bytes:
        head = b"id: " + message.id.encode("ascii") + b"\n" if message.is_kept else b""
        if message.event is not None:
            head += b"event: " + message.event.encode("utf-8") + b"\n"
        return head + b"".join([b"data: " + line + b"\n" for line in lines]) + b"\n"


class SseJson(Sse):
    """One event per message, with the JSON message as its data."""

    has_reply_to = True

    def message(self, message: Message) -> bytes:
        """Encode a message as an event with the JSON message as its data, and with an id unless it is ephemeral."""
        return self._event(message, [encode_message(message)])
