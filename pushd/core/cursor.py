"""Cursors: where a subscription begins.

``since`` is an id (``EPOCH-SEQ``), ``all``, ``last:N``, ``latest``, a duration back from now (``10m``) or unix seconds.
Without a cursor, a subscriber receives only messages published from now on.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from pushd.core.errors import BadSince

_ID = re.compile(r"([A-Za-z0-9]{1,32})-([0-9]{1,18})")
_LAST = re.compile(r"last:([1-9][0-9]{0,8})")
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")
_UNIX = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_UNIT_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class MessageId(NamedTuple):
    """The position of a message in a log. Sequence 0 is the position before the first message."""

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"


@dataclass(frozen=True, slots=True)
class Last:
    """Begin with the newest `size` messages."""

    size: int


@dataclass(frozen=True, slots=True)
class Age:
    """Begin with messages accepted in the last `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Time:
    """Begin with messages accepted at `unix` seconds or later."""

    unix: float


@dataclass(frozen=True, slots=True)
class Latest:
    """Begin with the newest kept message of each channel."""


@dataclass(frozen=True, slots=True)
class Everything:
    """Begin with the oldest kept message."""


@dataclass(frozen=True, slots=True)
class Now:
    """Begin with the next message."""


Since = MessageId | Last | Latest | Age | Time | Everything | Now

NOW: Final = Now()
EVERYTHING: Final = Everything()
LATEST: Final = Latest()


def parse_id(text: str) -> MessageId | None:
    """Return a message id; None when the text is none."""
    found = _ID.fullmatch(text)
    return MessageId(found[1], int(found[2])) if found else None


def newest_of(cursors: Sequence[Since]) -> Since:
    """Return the cursor that counts when a client gives several: the newest id in the epoch of the first one.

    :param cursors: at least one.
    """
    first = cursors[0]
    if not isinstance(first, MessageId):
        return first
    return max(each for each in cursors if isinstance(each, MessageId) and each.epoch == first.epoch)


def parse_since(text: str) -> Since:
    """Parse a ``since`` parameter; an empty one means from now on.

    :raises BadSince: when it is none of the accepted forms.
    """
    if not text:
        return NOW
    if text == "all":
        return EVERYTHING
    if text == "latest":
        return LATEST
    if found_id := parse_id(text):
        return found_id
    if found := _LAST.fullmatch(text):
        return Last(int(found[1]))
    if found := _DURATION.fullmatch(text):
        return Age(float(found[1]) * _UNIT_SECONDS[found[2]])
    if found := _UNIX.fullmatch(text):
        return Time(float(found[0]))
    raise BadSince("since must be a message id, all, latest, last:N, a duration such as 10m, or unix seconds")
