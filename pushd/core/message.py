"""Messages: as published (`Draft`) and as accepted and delivered (`Message`).

A message is immutable, so the history and all subscribers share one object.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple, Self

import msgspec

from pushd.core.charsets import CODECS, UTF8_LABELS
from pushd.core.errors import BadContentType, BadEvent, BadParameter, BadTtl
from pushd.core.json_input import check_json
from pushd.core.media_type import charset, essence, is_media_type, picture_type, with_utf8
from pushd.core.timestamp import round_timestamp

TEXT = "text/plain; charset=utf-8"
BINARY = "application/octet-stream"
JSON = "application/json"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TEXTUAL = re.compile(r"(?:text/.*|.*/(?:.*\+)?(?:json|xml)|application/(?:javascript|x-ndjson|yaml|toml))")
_CONNECTION_ID = re.compile(r"[0-9a-f]{32}")
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
    """``evicted``, ``expired``, ``epoch``, ``slow``, ``unknown`` or ``boundary``."""


def main_reason(gaps: Sequence[Gap]) -> str:
    """Return the reason of gaps that is reported where there is room for only one: the one that can miss most.

    :param gaps: at least one.
    """
    reasons = [gap.reason for gap in gaps]
    return next((reason for reason in ("epoch", "unknown") if reason in reasons), reasons[0])


class Exclusion(NamedTuple):
    """A connection of the publisher of a message, to which the message is not delivered live."""

    connection: str
    """Its id; empty for the connection over which the message is published."""
    owner: str = ""
    """Who the publisher is, as returned by `owner_of`: each node compares it with the connection. The hub sets it."""

    @classmethod
    def parse(cls, id: str) -> Self:
        """Return the exclusion of the connection with an id.

        :raises BadParameter: when it cannot be an id.
        """
        if not _CONNECTION_ID.fullmatch(id):
            raise BadParameter("except must be the id of a connection: 32 hexadecimal digits")
        return cls(id)


OWN_CONNECTION: Final = Exclusion("")
"""The exclusion of the connection over which a message is published."""


class Draft(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A validated message before it is accepted; see `draft`."""

    channel: str
    data: bytes
    content_type: str
    encoding: str
    event: str | None = None
    ttl: float | None = None
    end: bool = False
    sender: str | None = None
    """The subject of its publisher, if that is authenticated. The hub sets it: no input of a publisher does."""
    keep: bool = True
    """Whether it is stored. Otherwise it is ephemeral: delivered to connected subscribers only."""
    names_keep: bool = False
    """Whether its publisher has said so. Otherwise the rules for channels may change it."""
    exclude: Exclusion | None = None
    """The connection to which it is not delivered live. It is never stored."""
    reply_to: str | None = None
    """The channel for the reply, if it is a request. The hub sets it."""


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
    sender: str | None = None
    """The subject of its publisher, if that was authenticated: ``from`` in JSON."""
    is_local: bool = False
    """Whether it is delivered on one node only, while the backend is unavailable. It is in no history and has the id
    of the last message that is, so that a cursor taken from it misses nothing."""
    is_kept: bool = True
    """Whether it was accepted into the history. An ephemeral message has the sequence of the newest message before it,
    which is not its id: it has none."""
    reply_to: str | None = None
    """The channel for the reply, if it is a request."""

    @property
    def id(self) -> str:
        """``EPOCH-SEQ``."""
        return f"{self.epoch}-{self.seq}"

    @property
    def order(self) -> int:
        """The least sequence after it: a topic receives it live if it starts before that. For a message of the history
        its sequence; one that is in no history follows the message whose sequence it has.
        """
        return self.seq if self.is_kept and not self.is_local else self.seq + 1

    @property
    def size(self) -> int:
        """The bytes that count against limits: its data, channel, content type, event type and sender."""
        size = len(self.data) + len(self.channel) + len(self.content_type)
        if self.event is not None:
            size += len(self.event)
        return size if self.sender is None else size + len(self.sender.encode())

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
    keep: bool | None = None,
    exclude: Exclusion | None = None,
    max_event: int = 255,
) -> Draft:
    """Validate a message to publish; the channel must have been checked.

    Text of another charset than UTF-8 is converted, if the charset is in `CODECS` and the data is valid in it. So the
    data of the result may be up to four times as long.

    :param content_type: a media type (RFC 9110, section 8.3.1). None: plain text if the data is UTF-8, otherwise
        the type of a picture, or octets.
    :param event: the event type, at most `max_event` bytes.
    :param ttl: seconds to keep it, if shorter than the retention of the history.
    :param keep: whether it is stored. None: it is, unless the rules for channels say otherwise.
    :raises BadContentType, BadEvent, BadTtl: when the value is invalid.
    :raises BadParameter: when it is not stored, and has a time to live or ends its channel.
    :raises BadJson: when the content type is JSON and the data is not.
    """
    if ttl is not None and not 0 < ttl <= _MAX_TTL:
        raise BadTtl("ttl must be a positive number of seconds, at most ten years")
    if keep is False and (ttl is not None or end):
        raise BadParameter("message that is not kept must have neither ttl nor end")
    if event:
        _check_event(event, max_event)
    if content_type is None:
        kind, encoding = (TEXT, "text") if _is_utf8(data) else (picture_type(data) or BINARY, "binary")
    else:
        kind, data, encoding = _encoded(content_type, data, end)
    return Draft(
        channel,
        data,
        kind,
        encoding,
        event or None,
        ttl,
        end,
        keep=keep is not False,
        names_keep=keep is not None,
        exclude=exclude,
    )


def unkept_message(draft: Draft, epoch: str, seq: int, time: float, *, is_local: bool = False) -> Message:
    """Return the message of a draft that is delivered without being stored.

    :param seq: the sequence of the newest message before it.
    :param time: unix seconds.
    :param is_local: whether it is not stored because the backend is unavailable; see `Message.is_local`.
    """
    return Message(
        epoch,
        seq,
        None,
        draft.channel,
        round_timestamp(time),
        draft.data,
        draft.content_type,
        draft.encoding,
        draft.event,
        draft.end,
        draft.sender,
        is_local,
        draft.keep,
        draft.reply_to,
    )


def _check_event(event: str, most: int) -> None:
    if event in _RESERVED_EVENTS or event.startswith(_RESERVED_PREFIX):
        reserved = ", ".join(sorted(_RESERVED_EVENTS))
        raise BadEvent(f"event type is reserved for the daemon: {reserved} and {_RESERVED_PREFIX}… must not be used")
    if _CONTROL.search(event) or len(event.encode("utf-8", "surrogatepass")) > most:
        raise BadEvent(f"event type must have at most {most} bytes and no control characters")
    if any("\ud800" <= letter <= "\udfff" for letter in event):
        raise BadEvent("event type is not valid UTF-8")


def _encoded(content_type: str, data: bytes, end: bool) -> tuple[str, bytes, str]:
    """Return the content type, data and encoding with which data of a content type is stored."""
    encoding, codec = _default_encoding(content_type)
    if codec is not None:
        try:
            return with_utf8(content_type), data.decode(codec).encode("utf-8"), encoding
        except UnicodeError:
            return content_type, data, "binary"
    if encoding == "json" and (data or not end):
        check_json(data)
    return content_type, data, "binary" if encoding == "text" and not _is_utf8(data) else encoding


@lru_cache(_CACHE_SIZE)
def _default_encoding(content_type: str) -> tuple[str, str | None]:
    """Return the encoding of data of a content type, provided that the data is valid for it, and the codec of text that
    is not UTF-8.
    """
    if len(content_type) > _MAX_TYPE or not is_media_type(content_type):
        raise BadContentType(
            f"content type must be type/subtype with optional parameters, at most {_MAX_TYPE} characters"
        )
    kind, label = essence(content_type), charset(content_type)
    if kind == JSON:
        return "json", None
    if label in UTF8_LABELS:
        return "text", None
    if not _TEXTUAL.fullmatch(kind):
        return "binary", None
    if label is None:
        return "text", None
    codec = CODECS.get(label)
    return ("binary" if codec is None else "text"), codec


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
