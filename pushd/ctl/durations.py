"""Durations as arguments of commands: a number of seconds, or a number and a unit."""

import re
from argparse import ArgumentTypeError
from collections.abc import Callable

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|[smhd]?)")
_WHOLE = re.compile(r"[0-9]+[smhd]?")


def duration(text: str) -> int:
    """Return whole seconds: a whole number of at least 1, with an optional unit s, m, h or d.

    :raises ArgumentTypeError: when it is something else.
    """
    seconds = parse_seconds(text) if _WHOLE.fullmatch(text) else None
    if not seconds:
        raise ArgumentTypeError(f"must be a duration such as 90s, 10m, 1h or 7d (got {text!r})")
    return int(seconds)


def seconds_between(minimum: float, maximum: float) -> Callable[[str], float]:
    """Return a parser of durations, for `ArgumentParser.add_argument`, that returns seconds.

    :param minimum: the shortest duration that it accepts, in seconds.
    :param maximum: the longest one, in seconds.
    """

    def parse(text: str) -> float:
        seconds = parse_seconds(text)
        if seconds is None:
            raise ArgumentTypeError(f"must be a duration such as 1.5, 30s, 5m or 2h (got {text!r})")
        if not minimum <= seconds <= maximum:
            raise ArgumentTypeError(f"must be between {minimum:g} and {maximum:g} seconds (got {text!r})")
        return seconds

    return parse


def parse_seconds(text: str) -> float | None:
    """Return the seconds of a duration such as ``90``, ``1.5``, ``500ms``, ``30s``, ``5m``, ``2h`` or ``7d``; None if
    it is something else.
    """
    found = _DURATION.fullmatch(text)
    return float(found[1]) * _UNITS[found[2]] if found else None
