"""Envelopes of Bayeux 1.0: the messages of one request or frame, and the replies (pure: bytes in, objects out).

https://docs.cometd.org/current/reference/#_bayeux
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from pushd.core.errors import BadJson, BadParameter, TooLarge
from pushd.wire.json_messages import encode

MAX_MESSAGES: Final = 1000
"""The most messages in an envelope."""
MAX_ID: Final = 64
"""The most characters of the id of a message and of a client."""
MAX_CHANNELS: Final = 1000
"""The most channels in one subscription."""
MAX_NAME: Final = 512
"""The most characters of a channel."""
JSONP: Final = "jsonpcallback"
"""The name of the callback if the request has none."""
_CALLBACK = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*(?:\.[A-Za-z_$][A-Za-z0-9_$]*)*")
_MAX_CALLBACK = 128


class ClientMessage(msgspec.Struct):
    """A message of a client. What is not of the type that Bayeux prescribes is refused when it is decoded."""

    channel: str = ""
    id: str | int | None = None
    """Echoed in the reply as it is."""
    client: str = msgspec.field(default="", name="clientId")
    version: str = ""
    connection_types: list[str] = msgspec.field(default_factory=list, name="supportedConnectionTypes")
    connection_type: str = msgspec.field(default="", name="connectionType")
    subscription: str | list[str] | None = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    advice: dict[str, Any] | None = None
    ext: dict[str, Any] | None = None

    @property
    def channels(self) -> Sequence[str]:
        """The channels of a subscription."""
        if self.subscription is None:
            return ()
        return [self.subscription] if isinstance(self.subscription, str) else self.subscription

    def extension(self, name: str) -> Any:
        """Return a field of `ext`; None if there is none."""
        return None if self.ext is None else self.ext.get(name)

    def of_pushd(self, name: str) -> Any:
        """Return a field of `ext.pushd`; None if there is none."""
        fields = self.extension("pushd")
        return fields.get(name) if isinstance(fields, dict) else None

    @property
    def token(self) -> str | None:
        """The token of a handshake, in `ext.pushd.token` or `ext.authentication.token`; None if it has none.

        :raises BadParameter: when it is no string.
        """
        authentication = self.extension("authentication")
        token = self.of_pushd("token")
        if token is None and isinstance(authentication, dict):
            token = authentication.get("token")
        if not isinstance(token, str | None):
            raise BadParameter("token must be a string")
        return token


class Malformed(msgspec.Struct, frozen=True):
    """A message of an envelope that is no Bayeux message."""

    why: str
    channel: str | None = None
    id: str | int | None = None


_decode_all = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_one = msgspec.json.Decoder(ClientMessage).decode


def parse(body: bytes) -> list[ClientMessage | Malformed]:
    """Return the messages of an envelope: those of an array, or the one that stands alone.

    :param body: JSON; its size is limited before.
    :raises BadJson: when it is not JSON, or no message at all.
    :raises TooLarge: when there are more than `MAX_MESSAGES`.
    """
    text = body.strip()
    try:
        text.decode("utf-8")  # msgspec validates strings only when it decodes them
        raws: Sequence[Any] = _decode_all(text) if text[:1] == b"[" else [text]
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadJson(f"envelope must be an array of Bayeux messages: {error}") from None
    if not raws or not text:
        raise BadJson("envelope must have at least one message")
    if len(raws) > MAX_MESSAGES:
        raise TooLarge(f"envelope must not have more than {MAX_MESSAGES} messages")
    return [_message(bytes(raw)) for raw in raws]


def _message(raw: bytes) -> ClientMessage | Malformed:
    """Return one message.

    :raises BadJson: when it is not JSON.
    """
    try:
        message = _decode_one(raw)
    except msgspec.ValidationError as error:
        return Malformed(f"message is not valid: {error}", *_named(raw))
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadJson(f"envelope must be an array of Bayeux messages: {error}") from None
    if len(str(message.id or "")) > MAX_ID or len(message.client) > MAX_ID:
        return Malformed(f"id must not exceed {MAX_ID} characters")
    if len(message.channel) > MAX_NAME:
        return Malformed(f"channel must not exceed {MAX_NAME} characters", None, message.id)
    if len(message.channels) > MAX_CHANNELS:
        return Malformed(f"subscription must not have more than {MAX_CHANNELS} channels", message.channel, message.id)
    if any(len(channel) > MAX_NAME for channel in message.channels):
        return Malformed(f"channel must not exceed {MAX_NAME} characters", message.channel, message.id)
    return message


def _named(raw: bytes) -> tuple[str | None, str | int | None]:
    """Return the channel and the id of a message that is not valid, as far as they are."""
    try:
        fields = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None, None
    if not isinstance(fields, dict):
        return None, None
    channel, id = fields.get("channel"), fields.get("id")
    is_id = isinstance(id, str | int) and not isinstance(id, bool) and len(str(id)) <= MAX_ID
    return channel if isinstance(channel, str) and len(channel) <= MAX_NAME else None, id if is_id else None


def form_messages(body: bytes) -> bytes:
    """Return the envelope in the field ``message`` of a form, which may be repeated, as one array.

    :raises BadJson: when there is none.
    """
    try:
        fields = parse_qs(body.decode("utf-8"), max_num_fields=MAX_MESSAGES).get("message", [])
    except ValueError:  # also of an encoding, and of too many fields
        fields = []
    if not fields:
        raise BadJson("form must have the field message")
    return joined([field.encode() for field in fields])


def joined(envelopes: Sequence[bytes]) -> bytes:
    """Return several envelopes, each an array or one message, as one.

    :raises BadJson: when one is not JSON.
    """
    if len(envelopes) == 1:
        return envelopes[0]
    try:
        parts = [msgspec.json.decode(each) for each in envelopes]
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadJson(f"envelope must be an array of Bayeux messages: {error}") from None
    return encode([message for part in parts for message in (part if isinstance(part, list) else [part])])


def callback_name(name: str | None) -> bytes:
    """Return the name of the function that receives the answer of callback-polling.

    :raises BadParameter: when it is not a name, or names joined by dots.
    """
    if name is None:
        return JSONP.encode("ascii")
    if len(name) > _MAX_CALLBACK or not _CALLBACK.fullmatch(name):
        raise BadParameter("jsonp must be the name of a function: letters, digits, _, $ and dots")
    return name.encode("ascii")


def script(callback: bytes, answer: bytes) -> bytes:
    """Return an answer as a script that calls a function. The comment keeps the first bytes from meaning anything else
    to a plug-in.

    :param answer: JSON without U+2028 and U+2029, which once ended lines of scripts.
    """
    return b"/**/" + callback + b"(" + answer + b");"


def encode_reply(reply: Mapping[str, object]) -> bytes:
    """Return one reply."""
    return encode(reply)


def array(parts: Sequence[bytes]) -> bytes:
    """Return messages that are encoded already, as an array: one or several, joined by commas, in each part."""
    return b"[" + b",".join(filter(None, parts)) + b"]"
