"""A message as a publisher writes it in JSON: a line of a batch, ``PUBJ``, or the ``publish`` of a WebSocket.

``channel``, then ``data`` (any JSON value) or ``data_base64``, and ``content_type``, ``event``, ``ttl``,
``end`` where wanted.
"""

import base64
import binascii
import re
from typing import Any

import msgspec

from pushd.core.errors import BadJson, TooLarge
from pushd.core.message import BINARY, JSON, Draft, draft
from pushd.core.names import check_publishable


class Publication(msgspec.Struct, forbid_unknown_fields=True):
    """The JSON object. Keys that are not known are refused, so that a slip of the pen is not lost in silence."""

    channel: str
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    data_base64: str | msgspec.UnsetType = msgspec.UNSET
    content_type: str | None = None
    event: str | None = None
    ttl: float | None = None
    end: bool = False


_FOREIGN_KEY = re.compile(r" `(?!\w{1,40}`).*`", re.DOTALL)
"""A key in a sentence of the decoder's that is more than a slip of the pen."""
_decoder = msgspec.json.Decoder(Publication)
_string_decoder = msgspec.json.Decoder(str)


def parse_publication(text: bytes, max_data: int, max_event: int) -> Draft:
    """Read a message to be published.

    :param max_data: bytes of data allowed.
    :param max_event: bytes of event type allowed.
    :raises BadJson: it is not such an object.
    :raises TooLarge: the data has more than `max_data` bytes.
    :raises Refusal: as `check_publishable` and `draft` do.
    """
    return to_draft(decode(_decoder, text), max_data, max_event)


def decode(decoder: "msgspec.json.Decoder[Any]", text: bytes) -> Any:
    """Decode JSON to what the decoder asks for.

    :raises BadJson: with the decoder's words, which name the place, and of the text at most a key.
    """
    try:
        text.decode("utf-8")
        return decoder.decode(text)
    except UnicodeDecodeError:
        raise BadJson("JSON is UTF-8 (RFC 8259, section 8.1)") from None
    except RecursionError:
        raise BadJson("the JSON is nested too deeply") from None
    except msgspec.MsgspecError as error:
        raise BadJson(_FOREIGN_KEY.sub("", str(error))) from None


def to_draft(publication: Publication, max_data: int, max_event: int) -> Draft:
    """Check a decoded publication; raises as `parse_publication` does."""
    channel = check_publishable(publication.channel)
    data, content_type = _data(publication)
    check_size(len(data), max_data)
    return draft(
        channel, data, content_type, publication.event, publication.ttl, end=publication.end, max_event=max_event
    )


def check_size(size: int, limit: int) -> None:
    """Refuse data of more than `limit` bytes.

    :raises TooLarge: it has more.
    """
    if size > limit:
        raise TooLarge(f"a message has at most {limit} bytes")


def _data(publication: Publication) -> tuple[bytes, str | None]:
    given = publication.content_type
    if publication.data_base64 is not msgspec.UNSET:
        if publication.data is not msgspec.UNSET:
            raise BadJson("a message has data or data_base64, not both")
        return _from_base64(publication.data_base64), given or BINARY
    if publication.data is msgspec.UNSET:
        if publication.end:
            return b"", given
        raise BadJson("a message has data or data_base64")
    raw = bytes(publication.data)
    if given is not None and given.partition(";")[0].strip().lower() == JSON:
        return raw, given
    if raw[:1] != b'"':
        if given is not None:
            raise BadJson("data of that content type is a string, or data_base64")
        return raw, JSON
    return _from_string(raw), given


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadJson("data_base64 is not base64 (RFC 4648, section 4)") from None


def _from_string(raw: bytes) -> bytes:
    try:
        return _string_decoder.decode(raw).encode("utf-8")
    except (msgspec.MsgspecError, ValueError):
        raise BadJson("data is not a string of Unicode characters") from None
