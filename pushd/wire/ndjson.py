"""Line-delimited streams, for HTTP bodies and TCP lines: one JSON message per line, or only the data."""

from pushd.core.cursor import MessageId
from pushd.core.delivery import DataOnlyWire, StatelessWire
from pushd.core.message import Gap, Message
from pushd.wire.json_messages import (
    PING,
    encode_begin,
    encode_end,
    encode_expired,
    encode_expiring,
    encode_gap,
    encode_message,
)


class JsonLines(StatelessWire):
    """JSON messages and control objects, one per line.

    :param line_end: the bytes that end each line.
    :param pings: False for a connection whose dead peers TCP keepalive finds.
    """

    data_only = False
    has_begin = True
    has_reply_to = True

    def __init__(self, line_end: bytes = b"\n", *, pings: bool = True) -> None:
        self._line_end = line_end
        self._ping = PING + line_end if pings else b""

    def begin(self, cursor: MessageId, connection: str) -> bytes:
        """Encode a start cursor as one line."""
        return encode_begin(cursor, connection) + self._line_end

    def message(self, message: Message) -> bytes:
        """Encode a message as one line."""
        return encode_message(message) + self._line_end

    def gap(self, gap: Gap) -> bytes:
        """Encode a gap as one line."""
        return encode_gap(gap) + self._line_end

    def end(self, channel: str) -> bytes:
        """Encode the end of a channel as one line."""
        return encode_end(channel) + self._line_end

    def expiring(self, at: int) -> bytes:
        """Encode the warning as one line."""
        return encode_expiring(at) + self._line_end

    def expired(self, code: str) -> bytes:
        """Encode the last line of a stream whose credential is not accepted any more."""
        return encode_expired(code) + self._line_end

    def ping(self) -> bytes:
        """Encode a ping as one line; ``b""`` if pings are off."""
        return self._ping


class RawLines(DataOnlyWire):
    """The data of each message, followed by LF. Gaps, ends and pings are not encoded."""

    def message(self, message: Message) -> bytes:
        """Return the data followed by LF."""
        return message.data + b"\n"
