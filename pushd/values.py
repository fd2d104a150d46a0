"""How the value of a setting may be written: sizes, durations, lists, addresses.

A parser takes what a TOML file holds (a number, a string, a list, a truth value) or the text of an option or of
an environment variable, and returns the value. It raises ValueError with a phrase to follow the name of the
setting: "'lots' is not a size (examples: …)".
"""

import ipaddress
import math
import re
from collections.abc import Callable
from typing import TypeVar

from pushd.backends.redis.address import parse_url

T = TypeVar("T")
N = TypeVar("N", int, float)
Parser = Callable[[object], T]

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
_SIZES = {"": 1, "B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB}
_SIZE = re.compile(r"([0-9]{1,15})(B|KiB|MiB|GiB|)")

_SECONDS = {"": 1, "ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
"""Underscores are in no name of the internet, but in those that proxies and containers make up."""
_DURATION = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)(ms|s|m|h|d|)")
_PREFIX = re.compile(r"[A-Za-z0-9:._/-]{1,64}")
_TEN_YEARS = 10 * 365 * 86400

_TRUTH = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)

LEVELS = ("debug", "info", "warn", "error", "critical")
"""Of the log, the least important first."""
_NAMED_LEVEL = re.compile(rf"[A-Za-z_][\w.]*=(?:{'|'.join(LEVELS)})", re.ASCII)

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[^\s/?#@:\[\]\\*]+)(?::([0-9]{1,5}))?")
_USUAL_PORT = {"http": "80", "https": "443"}


def size(minimum: int = 1) -> Parser[int]:
    """A parser of sizes in bytes: a whole number, or a text such as "64KiB"."""

    def parse(value: object) -> int:
        found = _SIZE.fullmatch(_text(value))
        if not found:
            raise ValueError(f'{value!r} is not a size (examples: 65536, "64KiB", "4MiB")')
        return _at_least(minimum, int(found[1]) * _SIZES[found[2]], value)

    return parse


def count(minimum: int = 1) -> Parser[int]:
    """A parser of whole numbers."""

    def parse(value: object) -> int:
        text = _text(value)
        if not re.fullmatch("[0-9]{1,15}", text):
            raise ValueError(f"{value!r} is not a whole number (example: 1000)")
        return _at_least(minimum, int(text), value)

    return parse


def duration(minimum: float = 1, maximum: float = _TEN_YEARS) -> Parser[float]:
    """A parser of durations in seconds: a number, or a text such as "10m" (units ms, s, m, h and d)."""

    def parse(value: object) -> float:
        seconds = _seconds(value)
        if seconds > maximum:
            raise ValueError(f"{value!r} is too long (the most is {maximum} seconds)")
        return _at_least(minimum, seconds, value, " seconds")

    return parse


def share(value: object) -> float:
    """Read a share: a number from 0 to 1."""
    try:
        number = math.nan if isinstance(value, bool) else float(str(value))
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise ValueError(f"{value!r} is not a share (examples: 0, 0.01, 1)")
    return number


def choice(*words: str) -> Parser[str]:
    """A parser that takes one of some words, in any case."""

    def parse(value: object) -> str:
        word = value.lower() if isinstance(value, str) else ""
        if word not in words:
            raise ValueError(f"{value!r} is not one of {', '.join(words)}")
        return word

    return parse


def text(value: object) -> str:
    """Read a text; it may be empty."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"{value!r} is not a text")
    return value


def redis_url(value: object) -> str:
    """Check the URL of a Redis; it may be empty. What is wrong is told without the password in it."""
    url = value if isinstance(value, str) else "?"
    if url:
        parse_url(url)
    return url


def prefix(value: object) -> str:
    """Check what names of keys begin with."""
    if not isinstance(value, str) or not _PREFIX.fullmatch(value):
        raise ValueError(f"{value!r} is not a prefix: 1 to 64 letters, digits and any of : . _ / - (example: pushd:)")
    return value


def flag(value: object) -> bool:
    """Read a truth value."""
    word = str(value).lower() if isinstance(value, (bool, str)) else ""
    if word not in _TRUTH:
        raise ValueError(f"{value!r} is neither true nor false")
    return _TRUTH[word]


def listing(entry: Callable[[str], str] = str) -> Parser[tuple[str, ...]]:
    """A parser of lists of strings: a list, or one text split at white space and commas.

    The single word `none` is the empty list. Each string goes through `entry`, which returns it in its proper
    form or raises ValueError.
    """

    def parse(value: object) -> tuple[str, ...]:
        strings = _strings(value)
        if [string.lower() for string in strings] == ["none"]:
            return ()
        return tuple(map(entry, strings))

    return parse


def named_level(text: str) -> str:
    """Check a name of the log and its level, joined by `=`."""
    if not _NAMED_LEVEL.fullmatch(text):
        levels = ", ".join(LEVELS)
        raise ValueError(f"{text!r} is not NAME=LEVEL (example: pushd.transports=debug; the levels are {levels})")
    return text


def endpoint(text: str) -> str:
    """Check the outline of an endpoint string; what it says is read when the daemon listens."""
    kind, colon, _ = text.partition(":")
    if not (kind and colon):
        raise ValueError(f"{text!r} is not an endpoint string (example: tcp:8080:interface=127.0.0.1)")
    return text


def origin(text: str) -> str:
    """Read the origin of a page, or `*`, and return it the way a browser writes it."""
    if text == "*":
        return text
    found = _ORIGIN.fullmatch(text.lower())
    if not found:
        raise ValueError(f"{text!r} is not an origin (examples: https://example.org, http://localhost:3000)")
    scheme, host, port = found.groups()
    return f"{scheme}://{host}" + (f":{port}" if port and port != _USUAL_PORT.get(scheme) else "")


def origins(value: object) -> tuple[str, ...]:
    """Read a list of origins, or `*` alone, which means every origin."""
    found = listing(origin)(value)
    if "*" in found and len(found) > 1:
        raise ValueError("* means every origin and stands alone")
    return found


def host(text: str) -> str:
    """Check the name or the address of a host, without a port."""
    if not _HOST.fullmatch(text):
        raise ValueError(f"{text!r} is not the name of a host (examples: example.org, 10.0.0.7)")
    return text.lower()


def network(text: str) -> str:
    """Check an IP address or a network in CIDR notation."""
    try:
        return str(ipaddress.ip_network(text)) if "/" in text else str(ipaddress.ip_address(text))
    except ValueError:
        examples = "(examples: 10.0.0.7, 10.0.0.0/8, fd00::/8)"
        raise ValueError(f"{text!r} is not an address or a network {examples}") from None


def _text(value: object) -> str:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if isinstance(value, str) else str(value) if is_number else ""


def _seconds(value: object) -> float:
    if isinstance(value, float) and math.isfinite(value):
        return value
    found = _DURATION.fullmatch(_text(value))
    if not found:
        raise ValueError(f'{value!r} is not a duration (examples: 10, 2.5, "10s", "15m", "24h", "7d")')
    return float(found[1]) * _SECONDS[found[2]]


def _at_least(minimum: N, number: N, value: object, unit: str = "") -> N:
    if number < minimum:
        raise ValueError(f"{value!r} is too little (the least is {minimum}{unit})")
    return number


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return value.replace(",", " ").split()
    if isinstance(value, (list, tuple)) and all(isinstance(string, str) for string in value):
        return list(value)
    raise ValueError(f"{value!r} is not a list of strings")
