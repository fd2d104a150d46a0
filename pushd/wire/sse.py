"""Server-sent events (WHATWG HTML, section 9.2, "Server-sent events").

LF line ends only, no block without data, and no control information with an id, so that nothing but a message
moves a client's cursor.
"""

import base64
import re
from collections.abc import Sequence

from pushd.core.delivery import SteadyWire
from pushd.core.message import Gap, Message
from pushd.wire.jsons import encode_end, encode_gap, encode_message

_LINE_END = re.compile(rb"\r\n|\r|\n")
RETRY = b"retry: %d\n"
"""The milliseconds before a reconnect. No blank line follows, since some clients make an event of any block."""
PREAMBLE = b":\n" + RETRY
"""The first bytes of a stream: a comment, and in the first event's block the milliseconds before a reconnect."""


class Sse(SteadyWire):
    """Events that carry the data of the message; binary data as base64."""

    bare = False

    def message(self, message: Message) -> bytes:
        """Encode a message as an event with its id."""
        data = base64.b64encode(message.data) if message.form == "binary" else message.data
        return self._event(message, _LINE_END.split(data))

    def gap(self, gap: Gap) -> bytes:
        """Encode a gap as an event of type ``gap``, without an id."""
        return b"event: gap\ndata: " + encode_gap(gap) + b"\n\n"

    def end(self, channel: str) -> bytes:
        """Encode an end as an event of type ``end``, without an id."""
        return b"event: end\ndata: " + encode_end(channel) + b"\n\n"

    def ping(self) -> bytes:
        """Encode a comment."""
        return b":\n"

    @staticmethod
    def _event(message: Message, lines: Sequence[bytes]) -> bytes:
        head = b"id: " + message.id.encode("ascii") + b"\n"
        if message.event is not None:
            head += b"event: " + message.event.encode("utf-8") + b"\n"
        return head + b"".join([b"data: " + line + b"\n" for line in lines]) + b"\n"


class SseJson(Sse):
    """Events that carry the JSON message."""

    def message(self, message: Message) -> bytes:
        """Encode a message as an event with its id, its data being the JSON message."""
        return self._event(message, [encode_message(message)])
