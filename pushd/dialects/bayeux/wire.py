"""The wire of Bayeux: a message as one object of an array, encoded once for all sessions."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from pushd.core.delivery import StatelessWire
from pushd.core.message import BINARY, JSON, Draft, Gap, Message, draft
from pushd.dialects.bayeux import z85
from pushd.dialects.bayeux.channels import GAP, is_own
from pushd.wire.json_messages import encode

_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")
BINARY_JSON: Final = "application/json; bayeux=binary"
"""The content type of binary data that has more than its bytes: the object of the extension."""


class _Delivery(msgspec.Struct, omit_defaults=True):
    channel: str
    data: Any
    id: str | int | msgspec.UnsetType | None = msgspec.UNSET
    ext: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class BayeuxWire(StatelessWire):
    """Deliveries without a client id, which would let the reader act for its owner, and without ``successful``."""

    data_only = False
    has_reply_to = True

    def message(self, message: Message) -> bytes:
        """Encode a message; ``b""`` if its channel means something else in Bayeux."""
        if is_own(message.channel):
            return b""
        data, ext = _data(message)
        fields = {"from": message.sender, "event": message.event, "reply_to": message.reply_to}
        if given := {name: value for name, value in fields.items() if value is not None}:
            ext["pushd"] = given
        id = message.id if message.is_kept else msgspec.UNSET
        return encode(_Delivery(f"/{message.channel}", data, id, ext or msgspec.UNSET))

    def gap(self, gap: Gap) -> bytes:
        """Encode a gap as a message on `GAP`."""
        data = {"type": "gap", "topic": gap.topic, "from": gap.start, "to": gap.end, "reason": gap.reason}
        return encode(_Delivery(GAP, data))

    def end(self, channel: str) -> bytes:
        """Return ``b""``: the format cannot express it."""
        return b""

    def ping(self) -> bytes:
        """Return ``b""``: clients send connects."""
        return b""

    def block(self, frames: Sequence[bytes]) -> bytes:
        """Join the elements of an array."""
        return b",".join(filter(None, frames))


WIRE: Final = BayeuxWire()


def encode_response(channel: str, id: str | int | None, reply: Draft) -> bytes:
    """Return the reply to a request, on the channel and with the id of the request."""
    data, ext = _data(reply)
    if reply.sender is not None:
        ext["pushd"] = {"from": reply.sender}
    return encode(_Delivery(channel, data, msgspec.UNSET if id is None else id, ext or msgspec.UNSET))


def _data(message: Message | Draft) -> tuple[Any, dict[str, Any]]:
    """Return the data of a message, and its extensions."""
    if message.encoding == "json" and message.data:
        ext: dict[str, Any] = {"binary": {}} if message.content_type == BINARY_JSON else {}
        return msgspec.Raw(message.data.translate(_LINE_ENDS)), ext
    if message.encoding == "binary":
        return {"data": z85.encode(message.data), "last": True}, {"binary": {}}
    return message.data.decode("utf-8"), {}


def draft_of(channel: str, data: bytes, *, is_binary: bool) -> Draft:
    """Return the message that a client publishes.

    :param data: its JSON.
    :param is_binary: whether it has the binary extension.
    :raises Refusal: when it is not valid.
    """
    return draft(channel, *(binary_data(data) if is_binary else (data, JSON)))


def binary_data(raw: bytes) -> tuple[bytes, str]:
    """Return the data that a client has sent with the binary extension, and its content type.

    What has only bytes becomes these bytes; what has ``meta`` or is a part stays the object of the extension.
    """
    try:
        fields = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return raw, BINARY_JSON
    if isinstance(fields, dict) and fields.get("last", True) is True and not fields.get("meta"):
        data = z85.decode(fields.get("data"))
        if data is not None:
            return data, BINARY
    return raw, BINARY_JSON
