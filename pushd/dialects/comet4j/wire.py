"""Messages of comet4j: percent-encoded JSON between ``<`` and ``>``."""

from typing import Final
from urllib.parse import quote

import msgspec

from pushd.core.delivery import StatelessWire
from pushd.core.message import Gap, Message
from pushd.transports.http_stream import StreamFormat
from pushd.wire.json_messages import encode

SYSTEM: Final = "c4j"
"""The channel of control messages. Messages of a channel of pushd with this name are not delivered."""
GAPS: Final = "pushd/gap"
"""The channel of gaps in streams. Messages of a channel of pushd with this name are not delivered in streams."""


def frame(channel: str, data: object, time: float = 0, **others: object) -> bytes:
    """Return a message as percent-encoded JSON between ``<`` and ``>``."""
    return framed(encode({"channel": channel, "data": data, "time": round(time * 1000), **others}))


def framed(text: bytes) -> bytes:
    """Return a text percent-encoded between ``<`` and ``>``."""
    return b"<%b>" % quote(text, safe="").encode("ascii")


class Comet4jWire(StatelessWire):
    """Messages of comet4j."""

    data_only = False

    def message(self, message: Message) -> bytes:
        """Encode a message; ``b""`` if its channel is that of control messages."""
        return b"" if message.channel == SYSTEM else self._encode(message)

    def _encode(self, message: Message) -> bytes:
        if message.encoding == "json" and message.data and not _has_prototype(message.data):
            data: object = msgspec.Raw(message.data)
        elif message.encoding == "binary":
            data = {"data_base64": message.data}
        else:
            data = message.data.decode("utf-8")
        id = {"id": message.id} if message.is_kept else {}
        return frame(message.channel, data, message.time, **id)

    def gap(self, gap: Gap) -> bytes:
        """Encode a gap as a control message."""
        return _gap(SYSTEM, gap)

    def end(self, channel: str) -> bytes:
        """Return ``b""``: the format cannot express it."""
        return b""

    def ping(self) -> bytes:
        """Return ``b""``: clients ask again."""
        return b""


class StreamWire(Comet4jWire):
    """Messages of comet4j in a stream: stateful, so that the last message of each stream is known.

    The client separates what is new from what it had by the text, in which a message must not repeat the first one:
    so each has its id. A control message makes it request the stream again; so a gap is none.
    """

    is_stateful = True

    def message(self, message: Message) -> bytes:
        """Encode a message; ``b""`` if its channel is that of control messages or gaps."""
        return b"" if message.channel in (SYSTEM, GAPS) else self._encode(message)

    def gap(self, gap: Gap) -> bytes:
        """Encode a gap as a message of a channel whose messages are not delivered."""
        return _gap(GAPS, gap)


def _has_prototype(data: bytes) -> bool:
    """Return whether JSON may have a property ``__proto__``, perhaps with escapes.

    The client evaluates JSON as a script, in which two of them in an object are an error, at which it stops.
    """
    if b"\\u" not in data:
        return b"__proto__" in data
    try:
        return b"__proto__" in encode(msgspec.json.decode(data))
    except (msgspec.DecodeError, RecursionError):  # such as half of a surrogate pair
        return True


def _gap(channel: str, gap: Gap) -> bytes:
    fields = {"type": "gap", "topic": gap.topic, "from": gap.start, "to": gap.end, "reason": gap.reason}
    return frame(channel, fields)


WIRE: Final = Comet4jWire()
STREAM: Final = StreamFormat(b"text/plain; charset=utf-8", StreamWire())
