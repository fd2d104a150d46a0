"""Messages and control objects as JSON (docs/protocol.md, "The message as JSON").

Each is one line, whatever the publisher sent: the encoding contains no line end, and none of the characters at which
the `str.splitlines` of Python, and so httpx and requests, or the readline of Node.js split lines besides.
"""

import base64
import re

import msgspec

from pushd.core.cursor import MessageId
from pushd.core.errors import Refusal
from pushd.core.message import Draft, Gap, Message

_encode_raw = msgspec.json.Encoder().encode
_SEPARATORS = re.compile(rb"\xc2\x85|\xe2\x80[\xa8\xa9]")
"""U+0085, U+2028 and U+2029 in UTF-8. In valid JSON they can only be in strings."""
_ESCAPES = {b"\xc2\x85": b"\\u0085", b"\xe2\x80\xa8": b"\\u2028", b"\xe2\x80\xa9": b"\\u2029"}
_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")

PING = b'{"type":"ping"}'


def _encode(value: object) -> bytes:
    encoded = _encode_raw(value)
    if not encoded.isascii() and (b"\xe2\x80" in encoded or b"\xc2\x85" in encoded):
        return _SEPARATORS.sub(lambda found: _ESCAPES[found[0]], encoded)
    return encoded


class _Object(msgspec.Struct, omit_defaults=True):
    id: str | msgspec.UnsetType
    prev: str | msgspec.UnsetType | None
    channel: str
    time: float
    kept: bool | msgspec.UnsetType = msgspec.UNSET
    sender: str | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="from")
    reply_to: str | msgspec.UnsetType = msgspec.UNSET
    event: str | msgspec.UnsetType = msgspec.UNSET
    content_type: str | msgspec.UnsetType = msgspec.UNSET
    data: str | msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data_base64: str | msgspec.UnsetType = msgspec.UNSET


def encode_message(message: Message) -> bytes:
    """Return a message as a JSON object, without a line end."""
    if message.is_kept:
        fields = _Object(message.id, message.prev, message.channel, message.time, content_type=message.content_type)
    else:
        unset = msgspec.UNSET
        fields = _Object(unset, unset, message.channel, message.time, False, content_type=message.content_type)
    if message.sender is not None:
        fields.sender = message.sender
    if message.reply_to is not None:
        fields.reply_to = message.reply_to
    if message.event is not None:
        fields.event = message.event
    if message.encoding == "json" and message.data:
        fields.data = msgspec.Raw(message.data.translate(_LINE_ENDS))
    elif message.encoding == "binary":
        fields.data_base64 = base64.b64encode(message.data).decode("ascii")
    else:
        fields.data = message.data.decode("utf-8")
    return _encode(fields)


def data_fields(reply: Draft) -> dict[str, object]:
    """Return the data of a reply to a request, its content type, and its sender if there is one, as in a message."""
    sender: dict[str, object] = {} if reply.sender is None else {"from": reply.sender}
    fields = sender | {"content_type": reply.content_type}
    if reply.encoding == "json" and reply.data:
        return fields | {"data": msgspec.Raw(reply.data.translate(_LINE_ENDS))}
    if reply.encoding == "binary":
        return fields | {"data_base64": base64.b64encode(reply.data).decode("ascii")}
    return fields | {"data": reply.data.decode("utf-8")}


def encode_begin(cursor: MessageId, connection: str) -> bytes:
    """Return a start cursor and the id of the connection as ``{"type":"begin",...}``."""
    return _encode({"type": "begin", "cursor": str(cursor), "connection": connection})


def encode_gap(gap: Gap) -> bytes:
    """Return a gap as ``{"type":"gap",...}``."""
    return _encode({"type": "gap", "topic": gap.topic, "from": gap.start, "to": gap.end, "reason": gap.reason})


def encode_end(channel: str) -> bytes:
    """Return the end of a channel as ``{"type":"end",...}``."""
    return _encode({"type": "end", "channel": channel})


def encode_expiring(at: int) -> bytes:
    """Return the warning that a credential expires, at unix seconds, as ``{"type":"expiring",...}``."""
    return _encode({"type": "expiring", "at": at})


def encode_expired(code: str) -> bytes:
    """Return the end of a connection by the refusal of its credential as ``{"type":"expired",...}``."""
    return _encode({"type": "expired", "code": code})


def refusal_object(refusal: Refusal) -> dict[str, str]:
    """Return the ``error`` object of a refusal: ``{"code":...,"message":...}``."""
    return {"code": refusal.code, "message": str(refusal)}


def encode(value: object) -> bytes:
    """Return a value of built-in types as JSON, without a line end."""
    return _encode(value)
