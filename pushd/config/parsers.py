"""Parsers of setting values: sizes, durations, lists, addresses.

A parser takes a value of a TOML file (a number, a string, a list, a boolean), or the text of an option or of an
environment variable, and returns the value of the setting. It raises ValueError with a phrase to follow the name of
the setting: "'lots' is not a size (examples: …)".
"""

import ipaddress
import math
import re
from collections.abc import Callable
from typing import TypeVar

from pushd.backends.redis.address import parse_url
from pushd.config.mistakes import InvalidEntries, shown, suggestion

T = TypeVar("T")
N = TypeVar("N", int, float)
Parser = Callable[[object], T]

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
_SIZES = {"": 1, "B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB}
_SIZE = re.compile(r"([0-9]{1,15})(B|KiB|MiB|GiB|)")

_SECONDS = {"": 1, "ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
"""Public host names have no underscores, but those of proxies and containers may."""
_DURATION = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)(ms|s|m|h|d|)")
_PREFIX = re.compile(r"[A-Za-z0-9:._/-]{1,64}")
_TEN_YEARS = 10 * 365 * 86400

_BOOLEANS = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)

LEVELS = ("debug", "info", "warn", "error", "critical")
"""Levels of the log, by increasing severity."""
_NAMED_LEVEL = re.compile(rf"[A-Za-z_][\w.]*=(?:{'|'.join(LEVELS)})", re.ASCII)

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[^\s/?#@:\[\]\\*]+)(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def size(minimum: int = 1) -> Parser[int]:
    """Return a parser of sizes in bytes: a whole number, or a string such as "64KiB"."""

    def parse(value: object) -> int:
        match = _SIZE.fullmatch(_text(value))
        if not match:
            raise ValueError(f'{shown(value)} is not a size (examples: 65536, "64KiB", "4MiB")')
        return _at_least(minimum, int(match[1]) * _SIZES[match[2]], value)

    return parse


def count(minimum: int = 1) -> Parser[int]:
    """Return a parser of whole numbers."""

    def parse(value: object) -> int:
        digits = _text(value)
        if not re.fullmatch("[0-9]{1,15}", digits):
            raise ValueError(f"{shown(value)} is not a whole number (example: 1000)")
        return _at_least(minimum, int(digits), value)

    return parse


def duration(minimum: float = 1, maximum: float = _TEN_YEARS) -> Parser[float]:
    """Return a parser of durations in seconds: a number, or a string such as "10m" (units ms, s, m, h and d)."""

    def parse(value: object) -> float:
        seconds = _seconds(value)
        if seconds > maximum:
            raise ValueError(f"{shown(value)} is too long (must be at most {maximum} seconds)")
        return _at_least(minimum, seconds, value, " seconds")

    return parse


def share(value: object) -> float:
    """Return a share: a number from 0 to 1."""
    try:
        number = math.nan if isinstance(value, bool) else float(str(value))
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:
        raise ValueError(f"{shown(value)} is not a number from 0 to 1 (examples: 0, 0.01, 1)")
    return number


def choice(*words: str) -> Parser[str]:
    """Return a parser that accepts one of some words, in any case, and returns it in lower case."""

    def parse(value: object) -> str:
        word = value.lower() if isinstance(value, str) else ""
        if word not in words:
            raise ValueError(f"{shown(value)} is not one of {', '.join(words)}{suggestion(word, words)}")
        return word

    return parse


def text(value: object) -> str:
    """Return a string, which may be empty."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"{shown(value)} is not a string without null characters")
    return value


def nonblank_string(value: object) -> str:
    """Return a string that is not blank."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError(f"{shown(value)} is not a non-blank string")
    return value


def redis_url(value: object) -> str:
    """Return the URL of a Redis server, which may be empty. The error about an invalid URL leaves out its password."""
    url = value if isinstance(value, str) else "?"
    if url:
        parse_url(url)
    return url


def prefix(value: object) -> str:
    """Return the prefix of key names in Redis."""
    if not isinstance(value, str) or not _PREFIX.fullmatch(value):
        accepted = "1 to 64 letters, digits and any of : . _ / -"
        raise ValueError(f"{shown(value)} is not a valid prefix (accepted: {accepted}; example: pushd:)")
    return value


def flag(value: object) -> bool:
    """Return a boolean, from a boolean or one of the words true, yes, on, 1, false, no, off and 0."""
    word = str(value).lower() if isinstance(value, (bool, str)) else ""
    if word not in _BOOLEANS:
        raise ValueError(f"{shown(value)} is neither true nor false")
    return _BOOLEANS[word]


def string_list(entry: Callable[[str], str] = str) -> Parser[tuple[str, ...]]:
    """Return a parser of lists of strings: a list, or one string split at white space and commas.

    The single word `none` means the empty list.

    :param entry: returns the canonical form of each string, or raises ValueError.
    """

    def parse(value: object) -> tuple[str, ...]:
        strings = _strings(value)
        if [string.lower() for string in strings] == ["none"]:
            return ()
        return tuple(_entries(entry, strings))

    return parse


def namespace_level(text: str) -> str:
    """Return a log namespace and its level, joined by ``=``."""
    if not _NAMED_LEVEL.fullmatch(text):
        levels = ", ".join(LEVELS)
        raise ValueError(f"{text!r} is not NAME=LEVEL (example: pushd.transports=debug; the levels are {levels})")
    return text


def origin(text: str) -> str:
    """Return the origin of a page, serialized as browsers do (RFC 6454, section 6.2), or ``*``."""
    if text == "*":
        return text
    match = _ORIGIN.fullmatch(text.lower())
    if not match:
        raise ValueError(f"{text!r} is not an origin (examples: https://example.org, http://localhost:3000)")
    scheme, host, port = match.groups()
    return f"{scheme}://{host}" + (f":{port}" if port and port != _DEFAULT_PORTS.get(scheme) else "")


def origins(value: object) -> tuple[str, ...]:
    """Return a list of origins, or ``*`` alone, which means every origin."""
    allowed = string_list(origin)(value)
    if "*" in allowed and len(allowed) > 1:
        raise ValueError("* means every origin and must be the only entry")
    return allowed


def host(text: str) -> str:
    """Return the name or IPv4 address of a host, without a port, in lower case."""
    if not _HOST.fullmatch(text):
        raise ValueError(f"{text!r} is not a host name (examples: example.org, 10.0.0.7)")
    return text.lower()


def network(text: str) -> str:
    """Return an IP address, or a network in CIDR notation, in canonical form."""
    try:
        return str(ipaddress.ip_network(text)) if "/" in text else str(ipaddress.ip_address(text))
    except ValueError:
        examples = "(examples: 10.0.0.7, 10.0.0.0/8, fd00::/8)"
        raise ValueError(f"{text!r} is not an IP address or network {examples}") from None


def _text(value: object) -> str:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if isinstance(value, str) else str(value) if is_number else ""


def _seconds(value: object) -> float:
    if isinstance(value, float) and math.isfinite(value):
        return value
    match = _DURATION.fullmatch(_text(value))
    if not match:
        raise ValueError(f'{shown(value)} is not a duration (examples: 10, 2.5, "10s", "15m", "24h", "7d")')
    return float(match[1]) * _SECONDS[match[2]]


def _at_least(minimum: N, number: N, value: object, unit: str = "") -> N:
    if number < minimum:
        raise ValueError(f"{shown(value)} is too small (must be at least {minimum}{unit})")
    return number


def _entries(entry: Callable[[str], str], strings: list[str]) -> list[str]:
    entries = []
    reasons: dict[str | int, str] = {}
    for number, string in enumerate(strings, 1):
        try:
            entries.append(entry(string))
        except ValueError as error:
            reasons[number] = str(error)
    if reasons:
        raise InvalidEntries(reasons)
    return entries


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return value.replace(",", " ").split()
    if isinstance(value, (list, tuple)) and all(isinstance(string, str) for string in value):
        return list(value)
    raise ValueError(f"{shown(value)} is not a list of strings")
