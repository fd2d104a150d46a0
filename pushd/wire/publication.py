"""A message as publishers send it in JSON: in a line of a batch, in ``PUBJ``, or in ``publish`` of a WebSocket.

The object has ``channel``, then ``data`` (any JSON value) or ``data_base64``, and optionally ``content_type``,
``event``, ``ttl``, ``end``, ``keep`` and ``except``.
"""

import base64
import binascii

import msgspec

from pushd.core.errors import BadJson, BadParameter, Forbidden, TooLarge
from pushd.core.json_input import decode
from pushd.core.media_type import essence, picture_type, with_utf8
from pushd.core.message import BINARY, JSON, OWN_CONNECTION, Draft, Exclusion, draft
from pushd.core.names import REPLY, check_publishable, is_reply


class Publication(msgspec.Struct, forbid_unknown_fields=True):
    """The JSON object. Unknown keys are refused, so that a misspelt key is not silently ignored."""

    channel: str
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data_base64: str | msgspec.UnsetType = msgspec.UNSET
    content_type: str | None = None
    event: str | None = None
    ttl: float | None = None
    end: bool = False
    keep: bool | None = None
    exclude: str | None = msgspec.field(name="except", default=None)


class EchoPublication(Publication):
    """The JSON object of a publisher on a two-way connection, which can exclude that connection."""

    echo: bool = True


_decoder = msgspec.json.Decoder(Publication)
_echo_decoder = msgspec.json.Decoder(EchoPublication)
_string_decoder = msgspec.json.Decoder(str)


def parse_publication(text: bytes, max_data: int, max_event: int, *, has_echo: bool = False) -> Draft:
    """Return the message in a JSON object.

    :param text: UTF-8.
    :param max_data: the most bytes of data.
    :param max_event: the most bytes of an event type.
    :param has_echo: whether the object may have ``echo``.
    :raises BadJson: when the text is not such an object.
    :raises TooLarge: when the data has more than `max_data` bytes.
    :raises Refusal: see `check_publishable` and `draft`.
    """
    return to_draft(decode(_echo_decoder if has_echo else _decoder, text), max_data, max_event)


def to_draft(publication: Publication, max_data: int, max_event: int) -> Draft:
    """Return the message of a decoded object.

    :raises Refusal: see `parse_publication`.
    """
    channel = check_publishable(publication.channel)
    data, content_type = _data(publication)
    check_size(len(data), max_data)
    made = draft(
        channel,
        data,
        content_type,
        publication.event,
        publication.ttl,
        end=publication.end,
        keep=publication.keep,
        exclude=_exclusion(publication),
        max_event=max_event,
    )
    check_size(len(made.data), max_data)
    return made


def check_size(size: int, limit: int) -> None:
    """Check the size of message data, in bytes.

    :raises TooLarge: when `size` is greater than `limit`.
    """
    if size > limit:
        raise TooLarge(f"message data must not exceed {limit} bytes (got {size})")


def check_request(message: Draft) -> Draft:
    """Return a message if it may be a request.

    :raises Forbidden: when it is a reply.
    :raises BadParameter: when it has a time to live, or ends its channel.
    """
    if is_reply(message.channel):
        raise Forbidden(f"a request must not be published to {REPLY}: these channels are for replies")
    if message.ttl is not None or message.end:
        raise BadParameter("a request must not have ttl or end: it is not kept")
    if message.exclude is not None:
        raise BadParameter("a request must not have except: any subscriber of the channel may answer it")
    return message


def _exclusion(publication: Publication) -> Exclusion | None:
    is_echo = not isinstance(publication, EchoPublication) or publication.echo
    if publication.exclude is None:
        return None if is_echo else OWN_CONNECTION
    if not is_echo:
        raise BadParameter("message must have echo or except, not both")
    return Exclusion.parse(publication.exclude)


def _data(publication: Publication) -> tuple[bytes, str | None]:
    content_type = publication.content_type
    if publication.data_base64 is not msgspec.UNSET:
        if publication.data is not msgspec.UNSET:
            raise BadJson("message must have data or data_base64, not both")
        data = _from_base64(publication.data_base64)
        return data, content_type or picture_type(data) or BINARY
    if publication.data is msgspec.UNSET:
        if publication.end:
            return b"", content_type
        raise BadJson("message must have data or data_base64")
    raw = bytes(publication.data)
    if content_type is not None and essence(content_type) == JSON:
        return raw, content_type
    if raw[:1] != b'"':
        if content_type is not None:
            raise BadJson("data must be a string for this content type; binary data goes into data_base64")
        return raw, JSON
    return _from_string(raw), None if content_type is None else with_utf8(content_type)


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadJson("data_base64 is not valid base64 (RFC 4648, section 4)") from None


def _from_string(raw: bytes) -> bytes:
    text: str = decode(_string_decoder, raw)
    return text.encode("utf-8")
