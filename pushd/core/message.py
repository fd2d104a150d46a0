"""Messages: what a publisher hands in (`Draft`) and what everybody hears (`Message`).

A message is never changed once it is made, so one object serves the history and all subscribers.
"""

import re
from functools import lru_cache
from typing import NamedTuple

import msgspec

from pushd.core.errors import BadContentType, BadEvent, BadJson, BadTtl

TEXT = "text/plain; charset=utf-8"
BINARY = "application/octet-stream"
JSON = "application/json"

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}(?:[ \t]*;[ \t]*{_TOKEN}=(?:{_TOKEN}|\"[ !#-\[\]-~]*\"))*[ \t]*;?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TEXTUAL = re.compile(r"(?:text/.*|.*/(?:.*\+)?(?:json|xml)|application/(?:javascript|x-ndjson|yaml|toml))")
_MAX_TYPE = 255
_REMEMBERED = 1024
"""Content types that were looked at and are not looked at again."""
_FOREVER = 10 * 365 * 86400.0


class Gap(NamedTuple):
    """Messages of a topic after id `start` up to id `end` are gone, at least in part."""

    topic: str
    start: str
    end: str
    reason: str
    """``evicted``, ``expired``, ``epoch``, ``slow`` or ``unknown``."""


class Draft(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A message as a publisher hands it in, checked; see `draft`."""

    channel: str
    data: bytes
    content_type: str
    encoding: str
    event: str | None = None
    ttl: float | None = None
    end: bool = False


class Message(msgspec.Struct, frozen=True, eq=False, gc=False):
    """An accepted message. Nothing in it could lead back to it, so the garbage collector need not look at it."""

    epoch: str
    seq: int
    """Its place in the log; grows over all channels."""
    prev: str | None
    """The id of the message before it in the same channel."""
    channel: str
    time: float
    """When it was accepted, in unix seconds. For show: order never depends on it."""
    data: bytes
    content_type: str
    encoding: str
    """How `data` may be shown: ``json``, ``text`` (valid UTF-8) or ``binary``."""
    event: str | None = None
    end: bool = False
    """The last of a finite stream. With empty data it is only the mark of the end, and nobody hears it as a message."""
    is_local: bool = False
    """Whether it is for the subscribers of one node alone, while the store is away. It is in no history, and has the id
    of the last message that is, so that a cursor of it misses nothing."""

    @property
    def id(self) -> str:
        """``EPOCH-SEQ``."""
        return f"{self.epoch}-{self.seq}"

    @property
    def size(self) -> int:
        """What it counts against the limits in bytes: its data, names and types."""
        size = len(self.data) + len(self.channel) + len(self.content_type)
        return size if self.event is None else size + len(self.event)

    @property
    def is_mark(self) -> bool:
        """Whether it is nothing but the mark that its channel has ended."""
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
    """Check what a publisher hands in; the channel is checked already.

    :param content_type: a media type (RFC 9110, section 8.3.1); without one UTF-8 counts as plain
        text, all else as octets.
    :param event: the event type, at most `max_event` bytes.
    :param ttl: seconds to keep it, if shorter than the history's age.
    :raises BadContentType, BadEvent, BadTtl: the value is not of its kind.
    :raises BadJson: the type is JSON and the data is not.
    """
    if ttl is not None and not 0 < ttl <= _FOREVER:
        raise BadTtl("a time to live is a positive number of seconds, at most ten years")
    if event:
        _check_event(event, max_event)
    if content_type is None:
        kind, form = (TEXT, "text") if _is_utf8(data) else (BINARY, "binary")
    else:
        kind, form = content_type, _encoding(content_type, data, end)
    return Draft(channel, data, kind, form, event or None, ttl, end)


def _check_event(event: str, most: int) -> None:
    if _CONTROL.search(event) or len(event.encode("utf-8", "surrogatepass")) > most:
        raise BadEvent(f"an event type has at most {most} bytes and no control character")
    if any("\ud800" <= letter <= "\udfff" for letter in event):
        raise BadEvent("an event type is UTF-8")


def _encoding(content_type: str, data: bytes, end: bool) -> str:
    form = _default_encoding(content_type)
    if form == "json" and (data or not end):
        _check_json(data)
    return "binary" if form == "text" and not _is_utf8(data) else form


@lru_cache(_REMEMBERED)
def _default_encoding(content_type: str) -> str:
    """Tell of a content type how data of it may be shown, if it is what it says."""
    if len(content_type) > _MAX_TYPE or not _MEDIA_TYPE.fullmatch(content_type):
        raise BadContentType(f"a content type is type/subtype with parameters, at most {_MAX_TYPE} characters")
    essence = content_type.partition(";")[0].strip().lower()
    if essence == JSON:
        return "json"
    return "text" if _TEXTUAL.fullmatch(essence) or "charset=utf-8" in content_type.lower() else "binary"


def _check_json(data: bytes) -> None:
    try:
        msgspec.json.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise BadJson("the content type is application/json and the data is not JSON") from None


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
