"""Endless bodies and line connections: a JSON message a line, or the bare data a line."""

from pushd.core.delivery import BareWire, SteadyWire
from pushd.core.message import Gap, Message
from pushd.wire.jsons import PING, encode_end, encode_gap, encode_message


class JsonLines(SteadyWire):
    """JSON messages and control objects, one a line."""

    bare = False

    def __init__(self, line_end: bytes = b"\n", *, pings: bool = True) -> None:
        self._line_end = line_end
        self._ping = PING + line_end if pings else b""

    def message(self, message: Message) -> bytes:
        """Encode a message as a line."""
        return encode_message(message) + self._line_end

    def gap(self, gap: Gap) -> bytes:
        """Encode a gap as a line."""
        return encode_gap(gap) + self._line_end

    def end(self, channel: str) -> bytes:
        """Encode an end as a line."""
        return encode_end(channel) + self._line_end

    def ping(self) -> bytes:
        """Encode a ping as a line."""
        return self._ping


class RawLines(BareWire):
    """The bare data, each followed by LF. It can tell nothing else."""

    def message(self, message: Message) -> bytes:
        """Give the data and LF."""
        return message.data + b"\n"
