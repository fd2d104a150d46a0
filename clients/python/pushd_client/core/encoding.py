"""The data of messages: as the body of a request, and in a line of a batch."""

import json
from base64 import b64encode
from typing import Any, NamedTuple

from ..publications import Publication

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
BINARY = "application/octet-stream"


class Body(NamedTuple):
    """Data as the body of a request."""

    data: bytes
    content_type: str | None
    """None: the daemon finds it."""


def encode_json(value: object) -> str:
    """Return a value as JSON (RFC 8259) on one line.

    :raises ValueError: when it contains NaN or an infinite number.
    :raises TypeError: when it is no JSON.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encode_body(data: object, content_type: str | None = None) -> Body:
    """Return data as a body. `bytes` are sent as they are; `str` is text, except as JSON; anything else is JSON.

    Raises as `encode_json`.
    """
    if isinstance(data, bytes | bytearray | memoryview):
        return Body(bytes(data), content_type)
    if isinstance(data, str) and not _is_json(content_type):
        return Body(data.encode("utf-8"), content_type or TEXT)
    return Body(encode_json(data).encode("utf-8"), content_type or JSON)


def encode_line(message: Publication) -> bytes:
    """Return the line of a message in a batch. Raises as `encode_json`."""
    fields: dict[str, Any] = {"channel": message.channel, "content_type": message.content_type, "event": message.event}
    fields |= {"ttl": message.ttl, "end": message.end or None, "except": message.except_}
    line = {name: value for name, value in fields.items() if value is not None}
    if message.keep is False:
        line["keep"] = False
    return encode_json(line | _data_fields(message.data, message.content_type)).encode("utf-8")


def decode_body(data: bytes, content_type: str) -> Any:
    """Return the data of a body: the value of JSON, a `str` for text, else `bytes`.

    :raises ValueError: when it is not what its type says.
    """
    if _is_json(content_type):
        return json.loads(data)
    kind = content_type.partition(";")[0].strip().lower()
    is_text = kind.startswith("text/") or kind.endswith(("+json", "+xml")) or "charset=utf-8" in content_type.lower()
    if not is_text:
        return data
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data


def _data_fields(data: object, content_type: str | None) -> dict[str, Any]:
    if isinstance(data, bytes | bytearray | memoryview):
        fields = {"data_base64": b64encode(data).decode("ascii")}
        return fields if content_type or not _is_utf8(bytes(data)) else fields | {"content_type": TEXT}
    if isinstance(data, str) or content_type is None or _is_json(content_type):
        return {"data": data}
    return {"data": encode_json(data)}


def _is_json(content_type: str | None) -> bool:
    return content_type is not None and content_type.partition(";")[0].strip().lower() == JSON


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
