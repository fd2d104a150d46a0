"""Cursors: where a subscriber wants to begin.

``since`` is an id (``EPOCH-SEQ``), ``all``, ``last:N``, a duration back from now (``10m``) or unix seconds.
Without any, a subscriber hears what comes from now on.
"""

import re
from typing import Final, NamedTuple

from pushd.core.errors import BadSince

_ID = re.compile(r"([A-Za-z0-9]{1,32})-([0-9]{1,18})")
_LAST = re.compile(r"last:([1-9][0-9]{0,8})")
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")
_UNIX = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_UNIT_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class MessageId(NamedTuple):
    """The place of a message in a log. Sequence 0 is the place before the first."""

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"


class Last(NamedTuple):
    """The newest `size` messages."""

    size: int


class Age(NamedTuple):
    """What was accepted in the last `seconds`."""

    seconds: float


class Time(NamedTuple):
    """What was accepted at `unix` seconds or later."""

    unix: float


class Everything(NamedTuple):
    """All that is kept."""


class Now(NamedTuple):
    """What comes from now on."""


Since = MessageId | Last | Age | Time | Everything | Now

NOW: Final = Now()
EVERYTHING: Final = Everything()


def parse_since(text: str) -> Since:
    """Read a ``since``; nothing at all means from now on.

    :raises BadSince: it is none of the forms above.
    """
    if not text:
        return NOW
    if text == "all":
        return EVERYTHING
    if found := _ID.fullmatch(text):
        return MessageId(found[1], int(found[2]))
    if found := _LAST.fullmatch(text):
        return Last(int(found[1]))
    if found := _DURATION.fullmatch(text):
        return Age(float(found[1]) * _UNIT_SECONDS[found[2]])
    if found := _UNIX.fullmatch(text):
        return Time(float(found[0]))
    raise BadSince("since is a message id, all, last:N, a duration such as 10m, or unix seconds")
