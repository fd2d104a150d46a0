"""Decodes JSON of publishers, and says what is wrong with it (RFC 8259)."""

import re
from typing import Any

import msgspec

from pushd.core.errors import BadJson

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_UNSAFE_KEY = re.compile(r"(?<=unknown field) `(?!\w{1,40}`(?: - at `\$[\w.\[\]]*`)?$).*`", re.DOTALL)
"""A key of the client in an error of the decoder that is not a short word, and is therefore not repeated to it. What
else is quoted there, types and paths of fields, is from the declaration of the type."""
_LONE_SURROGATE = re.compile(
    rb"(?:[^\\]++|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\(?!u[dD][89a-fA-F]).)*+\\u[dD]",
    re.DOTALL,
)
"""A text up to the first escape of a surrogate that is not one of a pair."""
_any_decoder = msgspec.json.Decoder()


def decode(decoder: "msgspec.json.Decoder[Any]", text: bytes) -> Any:
    """Decode JSON to the type of the decoder.

    :raises BadJson: when the text is not JSON of that type. The reason names the position, and quotes at most a key.
    """
    try:
        # Fields of the type `Raw` are not checked by the decoder.
        text.decode("utf-8")
        return decoder.decode(text)
    except (ValueError, RecursionError) as error:
        raise BadJson(_fault(error, text)) from None


def check_json(text: bytes) -> None:
    """Check that a text is a JSON value.

    :raises BadJson: when it is not; the text names the reason.
    """
    try:
        _any_decoder.decode(text)
    except (ValueError, RecursionError) as error:
        raise BadJson(f"data must be valid JSON for the content type application/json: {_fault(error, text)}") from None


def _fault(error: Exception, text: bytes) -> str:
    if isinstance(error, RecursionError):
        return "JSON is nested too deeply"
    if text.startswith(_BYTE_ORDER_MARK):
        return "JSON must not begin with a byte order mark (RFC 8259, section 8.1)"
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return "JSON is not valid UTF-8 (RFC 8259, section 8.1)"
    reason = str(error)
    if ("surrogate" in reason or "truncated" in reason) and _LONE_SURROGATE.match(text):
        return "JSON contains the escape of a lone surrogate, which is no Unicode character (RFC 8259, section 8.2)"
    if "out of range" in reason:
        return "JSON contains a number that is out of range (RFC 8259, section 6)"
    return _UNSAFE_KEY.sub("", reason)
