"""The message as JSON, and the control objects that stand beside it (docs/protocol.md, "The message as JSON").

One line each: nothing in them is a line end, whatever the publisher sent.
"""

import base64

import msgspec

from pushd.core.message import Gap, Message

_encode = msgspec.json.Encoder().encode
_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")

PING = b'{"type":"ping"}'


class _Object(msgspec.Struct, omit_defaults=True):
    id: str
    prev: str | None
    channel: str
    time: float
    event: str | msgspec.UnsetType = msgspec.UNSET
    content_type: str | msgspec.UnsetType = msgspec.UNSET
    data: str | msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data_base64: str | msgspec.UnsetType = msgspec.UNSET


def encode_message(message: Message) -> bytes:
    """Encode a message as a JSON object without a line end."""
    shown = _Object(message.id, message.prev, message.channel, message.time, content_type=message.content_type)
    if message.event is not None:
        shown.event = message.event
    if message.form == "json" and message.data:
        shown.data = msgspec.Raw(message.data.translate(_LINE_ENDS))
    elif message.form == "binary":
        shown.data_base64 = base64.b64encode(message.data).decode("ascii")
    else:
        shown.data = message.data.decode("utf-8")
    return _encode(shown)


def encode_gap(gap: Gap) -> bytes:
    """Encode ``{"type":"gap",...}``."""
    return _encode({"type": "gap", "topic": gap.topic, "from": gap.start, "to": gap.end, "reason": gap.reason})


def encode_end(channel: str) -> bytes:
    """Encode ``{"type":"end",...}``."""
    return _encode({"type": "end", "channel": channel})


def encode(value: object) -> bytes:
    """Encode any plain value."""
    return _encode(value)
