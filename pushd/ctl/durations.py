"""Durations as arguments of commands."""

import re
from argparse import ArgumentTypeError

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]{1,9})([smhd]?)")


def duration(text: str) -> int:
    """Return seconds: a whole number of at least 1, with an optional unit s, m, h or d.

    :raises ArgumentTypeError: when it is something else.
    """
    found = _DURATION.fullmatch(text)
    if not found or not int(found[1]):
        raise ArgumentTypeError(f"must be a duration such as 90s, 10m, 1h or 7d (got {text!r})")
    return int(found[1]) * _UNITS[found[2]]
