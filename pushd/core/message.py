"""Messages: as published (`Draft`) and as accepted and delivered (`Message`).

A message is immutable, so the history and all subscribers share one object.
"""

import re
from functools import lru_cache
from typing import NamedTuple

import msgspec

from pushd.core.content import decoded, image_type, is_foreign, json_problem
from pushd.core.errors import BadContentType, BadEvent, BadJson, BadTtl
from pushd.core.media_type import charset, essence, is_media_type, with_utf8

TEXT = "text/plain; charset=utf-8"
BINARY = "application/octet-stream"
JSON = "application/json"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TEXTUAL = re.compile(r"(?:text/.*|.*/(?:.*\+)?(?:json|xml)|application/(?:javascript|x-ndjson|yaml|toml))")
_RESERVED_EVENTS = frozenset({"begin", "end", "expired", "expiring", "gap"})
_RESERVED_PREFIX = "presence."
"""Event types of the daemon itself: an EventSource could not tell them from those of a publisher."""
_MAX_TYPE = 255
"""Characters of a content type."""
_CACHE_SIZE = 1024
"""The number of content types whose encoding is cached."""
_MAX_TTL = 10 * 365 * 86400.0
"""Seconds: ten years."""


class Gap(NamedTuple):
    """Messages of a topic after id `start` up to id `end` are missing, at least in part."""

    topic: str
    start: str
    end: str
    reason: str
    """``evicted``, ``expired``, ``epoch``, ``slow`` or ``unknown``."""


class Draft(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A validated message before it is accepted; see `draft`."""

    channel: str
    data: bytes
    content_type: str
    encoding: str
    event: str | None = None
    ttl: float | None = None
    end: bool = False


class Message(msgspec.Struct, frozen=True, eq=False, gc=False):
    """An accepted message. It cannot be part of a reference cycle, so the garbage collector does not track it."""

    epoch: str
    seq: int
    """Its sequence in the log, which increases across all channels."""
    prev: str | None
    """The id of the previous message in the same channel."""
    channel: str
    time: float
    """When it was accepted, in unix seconds. For display: order never depends on it."""
    data: bytes
    content_type: str
    encoding: str
    """How `data` can be represented: ``json``, ``text`` (valid UTF-8) or ``binary``."""
    event: str | None = None
    end: bool = False
    """Whether it is the last of its channel. With empty data it only marks the end and is not delivered."""
    is_local: bool = False
    """Whether it is delivered on one node only, while the backend is unavailable. It is in no history and has the id
    of the last message that is, so that a cursor taken from it misses nothing."""

    @property
    def id(self) -> str:
        """``EPOCH-SEQ``."""
        return f"{self.epoch}-{self.seq}"

    @property
    def size(self) -> int:
        """The bytes that count against limits: its data, channel, content type and event type."""
        size = len(self.data) + len(self.channel) + len(self.content_type)
        return size if self.event is None else size + len(self.event)

    @property
    def is_mark(self) -> bool:
        """Whether it only marks the end of its channel."""
        return self.end and not self.data


def draft(
    channel: str,
    data: bytes,
    content_type: str | None = None,
    event: str | None = None,
    ttl: float | None = None,
    *,
    end: bool = False,
    max_event: int = 255,
) -> Draft:
    """Validate a message to publish; the channel must have been checked.

    :param content_type: a media type (RFC 9110, section 8.3.1). None: plain text if the data is UTF-8, else the type of
        an image by its first bytes, else octets. Text in another charset is converted to UTF-8.
    :param event: the event type, at most `max_event` bytes.
    :param ttl: seconds to keep it, if shorter than the retention of the history.
    :raises BadContentType, BadEvent, BadTtl: when the value is invalid.
    :raises BadJson: when the content type is JSON and the data is not.
    """
    if ttl is not None and not 0 < ttl <= _MAX_TTL:
        raise BadTtl("ttl must be a positive number of seconds, at most ten years")
    if event:
        _check_event(event, max_event)
    if content_type is None:
        kind, encoding = _guess(data)
    else:
        data, kind = _in_utf8(data, content_type)
        encoding = _encoding(kind, data, end)
    return Draft(channel, data, kind, encoding, event or None, ttl, end)


def _guess(data: bytes) -> tuple[str, str]:
    """Return the content type and the encoding of data without a type."""
    if _is_utf8(data):
        return TEXT, "text"
    return image_type(data) or BINARY, "binary"


def _in_utf8(data: bytes, content_type: str) -> tuple[bytes, str]:
    """Return text in another charset in UTF-8, with its type, so that it is text on every wire.

    Text that cannot be decoded keeps its bytes and its type, and is binary on every wire.
    """
    charset = _foreign_charset(content_type)
    if charset is None or (text := decoded(data, charset)) is None:
        return data, content_type
    return text, with_utf8(content_type)


@lru_cache(_CACHE_SIZE)
def _foreign_charset(content_type: str) -> str | None:
    """Return the charset of a textual type, if it is not UTF-8."""
    if not is_media_type(content_type) or not _TEXTUAL.fullmatch(essence(content_type)):
        return None
    name = charset(content_type)
    return name if is_foreign(name) else None


def _check_event(event: str, most: int) -> None:
    if event in _RESERVED_EVENTS or event.startswith(_RESERVED_PREFIX):
        reserved = ", ".join(sorted(_RESERVED_EVENTS))
        raise BadEvent(f"event type is reserved for the daemon: {reserved} and {_RESERVED_PREFIX}… must not be used")
    if _CONTROL.search(event) or len(event.encode("utf-8", "surrogatepass")) > most:
        raise BadEvent(f"event type must have at most {most} bytes and no control characters")
    if any("\ud800" <= letter <= "\udfff" for letter in event):
        raise BadEvent("event type is not valid UTF-8")


def _encoding(content_type: str, data: bytes, end: bool) -> str:
    encoding = _default_encoding(content_type)
    if encoding == "json" and (data or not end) and (problem := json_problem(data)):
        raise BadJson(f"data is not valid JSON, which the content type application/json requires: {problem}")
    if encoding != "text":
        return encoding
    return "text" if _is_utf8(data) and _foreign_charset(content_type) is None else "binary"


@lru_cache(_CACHE_SIZE)
def _default_encoding(content_type: str) -> str:
    """Return the encoding of data of a content type, provided that the data is valid for it."""
    if len(content_type) > _MAX_TYPE or not is_media_type(content_type):
        raise BadContentType(
            f"content type must be type/subtype with optional parameters, at most {_MAX_TYPE} characters"
        )
    kind = essence(content_type)
    if kind == JSON:
        return "json"
    return "text" if _TEXTUAL.fullmatch(kind) or charset(content_type) == "utf-8" else "binary"


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
