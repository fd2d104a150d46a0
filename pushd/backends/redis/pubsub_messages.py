"""The messages on pub/sub, except those of audiences: parsed and validated, since any client of Redis can send them."""

import re
from functools import lru_cache
from typing import Final, NamedTuple

from pushd.backends.redis.encoding import Published, decode_published
from pushd.core.errors import Refusal
from pushd.core.names import check_topic, is_pattern, is_reply

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ENCODINGS: Final = frozenset(("text", "json", "binary"))
_MAX_SEQ: Final = 10**18


class Deletion(NamedTuple):
    """A channel was deleted."""

    epoch: str
    number: int
    """How many channels were deleted, with this one."""
    channel: str


class ReturnedHeartbeat(NamedTuple):
    """A heartbeat of this node."""

    token: str
    epoch: str
    head: int


class MoreLost(NamedTuple):
    """Redis has found out that it had lost messages."""


def parse(raw: bytes) -> Published | Deletion | ReturnedHeartbeat | MoreLost:
    """Parse a pub/sub message.

    :raises ValueError: when it is malformed, so another program publishes under this prefix.
    """
    if raw.startswith((b"m ", b"e ")):
        return _checked(decode_published(raw))
    head, _, rest = raw.partition(b"\n")
    match head.decode("ascii").split(" "):
        case ["x", epoch, count]:
            return Deletion(epoch, int(count), checked_channel(rest.decode()))
        case ["beat", token, epoch, seq]:
            return ReturnedHeartbeat(token, epoch, int(seq))
        case ["beyond", _, _]:
            return MoreLost()
    raise ValueError("unknown kind")


def _checked(published: Published) -> Published:
    """Check what could forge frames or make an encoder fail."""
    message = published.message
    if not message.is_kept <= message.seq < _MAX_SEQ:
        raise ValueError("invalid sequence")
    if message.event is not None and _CONTROL.search(message.event):
        raise ValueError("invalid event type")
    check_data(message.data, message.content_type, message.encoding)
    checked_channel(message.channel)
    if message.reply_to is not None and not is_reply(checked_channel(message.reply_to)):
        raise ValueError("invalid channel for the reply")
    return published


def check_data(data: bytes, content_type: str, encoding: str) -> None:
    """Check the data of a message.

    :raises ValueError: when it could forge frames, or make an encoder fail.
    """
    _check_type(content_type, encoding)
    if encoding != "binary" and not data.isascii():
        data.decode("utf-8")


@lru_cache(1024)
def _check_type(content_type: str, encoding: str) -> None:
    if not content_type.isascii() or _CONTROL.search(content_type) or encoding not in _ENCODINGS:
        raise ValueError("invalid content type or encoding")


@lru_cache(4096)
def checked_channel(name: str) -> str:
    """Return a name if it is that of a channel.

    :raises ValueError: when it is not.
    """
    try:
        check_topic(name)
    except Refusal as refusal:
        raise ValueError(str(refusal)) from None
    if is_pattern(name):
        raise ValueError("a pattern is not a channel")
    return name
