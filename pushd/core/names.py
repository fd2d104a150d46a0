"""Names: channels, patterns, and the topics of a subscription.

A channel is 1 to 255 bytes of UTF-8 in segments joined by ``/``. It has one spelling, all of which is visible: Unicode
normalization form C, without bidirectional controls and zero-width characters. A pattern is a channel name in which a
whole segment is ``*`` (exactly one segment) or the last one is ``**`` (one or more segments). A topic is either of
the two.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from unicodedata import is_normalized

from pushd.core.errors import BadChannel, BadTopic, Forbidden, TooManyTopics
from pushd.core.patterns import PatternSet

MAX_BYTES = 255
"""The most bytes of a channel name or pattern; for the channels of presence events, of the name after `PRESENCE`."""
PRESENCE = "$presence/"
"""The prefix of the channels of presence events; the rest of the name is the channel whose members they report."""
REPLY = "$reply/"
"""The prefix of the channels to which replies are published; the rest of the name is the token of the request."""
_CACHE_SIZE = 4096
"""The number of entries of each cache: checked names, and channels matched against patterns."""
_FEW_PREFIXES = 8
"""The most beginnings of patterns that each channel is compared with: some 100 ns."""
_TOO_LONG = f"must not exceed {MAX_BYTES} bytes"
_ONE = "*"
_REST = "**"
_DOTS = frozenset((".", ".."))
_FORBIDDEN = re.compile(r"[\s\x00-\x1f\x7f-\x9f*,?#\\\ud800-\udfff]")
"""White space, control characters, reserved punctuation and surrogates."""
_INVISIBLE = re.compile(r"[\u061c\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
"""Bidirectional controls (UAX #9, section 2) and zero-width characters."""


def check_channel(name: str) -> str:
    """Return `name` if it is a channel name.

    :raises BadChannel: when it is not.
    """
    problem = _problem(name) or _segment_problem(name.split("/"))
    if problem:
        raise BadChannel(f"channel name {problem}")
    return name


@lru_cache(_CACHE_SIZE)
def check_publishable(name: str) -> str:
    """Return `name` if it is a channel that a publisher may use, or that of a reply: other names that begin with ``$``
    are the daemon's.

    :raises BadChannel: when it is not a channel name.
    :raises Forbidden: when it begins with ``$``.
    """
    check_channel(name)
    if name[0] == "$" and not is_reply(name):
        raise Forbidden("channel name must not begin with $: these names are reserved for the daemon")
    return name


def is_reply(channel: str) -> bool:
    """Return whether what is published to a channel is the reply to a request."""
    return channel.startswith(REPLY)


@lru_cache(_CACHE_SIZE)
def check_topic(name: str) -> str:
    """Return `name` if it is a channel name or a pattern.

    :raises BadTopic: when it is neither.
    """
    problem = _problem(name)
    if not problem:
        segments = name.split("/")
        if segments[-1] == _REST:
            del segments[-1]
        problem = _segment_problem([segment for segment in segments if segment != _ONE])
    if problem:
        raise BadTopic(f"topic {problem}")
    return name


def parse_topics(text: str, limit: int) -> tuple[str, ...]:
    """Split the comma-separated topics of one subscription and remove duplicates.

    :param limit: the maximum number of topics.
    :raises BadTopic: when one of them is not a topic.
    :raises TooManyTopics: when there are more than `limit`.
    """
    names = text.split(",", limit)
    if len(names) > limit:
        raise TooManyTopics(f"too many topics in one subscription: at most {limit} are accepted")
    return tuple(dict.fromkeys(check_topic(name) for name in names))


def is_pattern(topic: str) -> bool:
    """Return whether a valid topic is a pattern."""
    return _ONE in topic


def matches(topic: str, channel: str) -> bool:
    """Return whether messages of `channel` belong to `topic`; both must be valid.

    A wildcard as the first segment does not match the daemon's names (``$sys/...``), as in MQTT 5.0, section 4.7.2.
    """
    if _ONE not in topic:
        return topic == channel
    pattern, segments = topic.split("/"), channel.split("/")
    if channel[0] == "$" and pattern[0] in (_ONE, _REST):
        return False
    if pattern[-1] == _REST:
        del pattern[-1]
        if len(segments) <= len(pattern):
            return False
    elif len(segments) != len(pattern):
        return False
    return all(expected in (_ONE, segment) for expected, segment in zip(pattern, segments, strict=False))


def covers(granted: str, requested: str) -> bool:
    """Return whether every channel that matches `requested` also matches `granted`; both must be valid topics.

    A wildcard as the first segment covers no name that begins with ``$``, as in `matches`.
    """
    outer, inner = granted.split("/"), requested.split("/")
    if inner[0][0] == "$" and outer[0] in (_ONE, _REST):
        return False
    if outer[-1] == _REST:
        del outer[-1]
        if len(inner) <= len(outer):
            return False
    elif len(inner) != len(outer):
        return False
    return all(ours == its or (ours == _ONE and its != _REST) for ours, its in zip(outer, inner, strict=False))


def intersection(one: str, other: str) -> str | None:
    """Return the topic that matches the channels that both topics match; None if there are none. Both must be valid.

    A wildcard as the first segment matches no name that begins with ``$``, as in `matches`.
    """
    first, second = sorted((one.split("/"), other.split("/")), key=len)
    wildcards = (_ONE, _REST)
    if (first[0] in wildcards and second[0][0] == "$") or (second[0] in wildcards and first[0][0] == "$"):
        return None
    if len(first) < len(second):
        if first[-1] != _REST:
            return None
        first += [_REST] * (len(second) - len(first))
    common = [_common_segment(*pair) for pair in zip(first, second, strict=True)]
    return None if None in common else "/".join(filter(None, common))


def intersects(one: str, other: str) -> bool:
    """Return whether a channel may match both topics, which must be valid; see `intersection`."""
    return intersection(one, other) is not None


class Scope:
    """The topics to which a peer is confined, indexed on first use.

    `covers` takes time proportional to the segments of the requested topic, not to the number of topics: a command
    or a URL may name a thousand. The topics that match so far are the bits of an integer, which each segment narrows.
    """

    __slots__ = ("_index", "topics")

    def __init__(self, topics: tuple[str, ...]) -> None:
        self.topics = topics
        self._index: _ScopeIndex | None = None

    def covers(self, requested: str) -> bool:
        """Return whether one of the topics covers `requested`, a valid topic."""
        if self._index is None:
            self._index = _ScopeIndex(self.topics)
        return self._index.covers(requested)

    def covering(self, requested: str) -> int:
        """Return the set of the topics that cover `requested`: bit ``i`` is set if topic ``i`` does."""
        if self._index is None:
            self._index = _ScopeIndex(self.topics)
        return self._index.covering(requested)


class _ScopeIndex:
    """Topics as bit sets: for each depth, those with a given segment, ``*`` or ``**`` there, and those that end
    there.
    """

    __slots__ = ("_ends", "_rests", "_segments", "_wild")

    def __init__(self, topics: Sequence[str]) -> None:
        self._segments: list[dict[str, int]] = []
        self._rests: list[int] = []
        self._ends: list[int] = [0]
        self._wild = 0
        """The topics that begin with a wildcard."""
        for number, topic in enumerate(topics):
            self._add(1 << number, topic.split("/"))

    def _add(self, bit: int, segments: list[str]) -> None:
        if segments[0] in (_ONE, _REST):
            self._wild |= bit
        for depth, segment in enumerate(segments):
            if depth == len(self._segments):
                self._segments.append({})
                self._rests.append(0)
                self._ends.append(0)
            if segment == _REST:
                self._rests[depth] |= bit
            else:
                self._segments[depth][segment] = self._segments[depth].get(segment, 0) | bit
        if segments[-1] != _REST:
            self._ends[len(segments)] |= bit

    def covers(self, requested: str) -> bool:
        """Return whether one of the topics covers `requested`."""
        segments = requested.split("/")
        matching = -1 if requested[0] != "$" else ~self._wild
        for depth, segment in enumerate(segments[: len(self._segments)]):
            if matching & self._rests[depth]:
                return True
            here = self._segments[depth]
            matching &= here.get(segment, 0) | (0 if segment == _REST else here.get(_ONE, 0))
            if not matching:
                return False
        return len(segments) < len(self._ends) and bool(matching & self._ends[len(segments)])

    def covering(self, requested: str) -> int:
        """Return the set of the topics that cover `requested`."""
        segments = requested.split("/")
        matching = -1 if requested[0] != "$" else ~self._wild
        found = 0
        for depth, segment in enumerate(segments[: len(self._segments)]):
            found |= matching & self._rests[depth]
            here = self._segments[depth]
            matching &= here.get(segment, 0) | (0 if segment == _REST else here.get(_ONE, 0))
        return found | matching & self._ends[len(segments)] if len(segments) < len(self._ends) else found


class Interest:
    """The channels that a set of valid topics covers. Recent results are cached."""

    def __init__(self, topics: Iterable[str]) -> None:
        names = tuple(topics)
        self._names = dict.fromkeys((name for name in names if not is_pattern(name)), True)
        self._cache = self._names.copy()
        self.patterns = PatternSet([name for name in names if is_pattern(name)])
        """The patterns among the topics, in the same order."""
        prefixes = {name[: name.index(_ONE)] for name in names if is_pattern(name)}
        self._prefixes = tuple(prefixes) if len(prefixes) <= _FEW_PREFIXES and "" not in prefixes else None
        """What the channels that the patterns match begin with; None if that excludes none, or there are many."""

    @property
    def is_exact(self) -> bool:
        """Whether none of the topics is a pattern."""
        return not self.patterns

    def covers(self, channel: str) -> bool:
        """Return whether messages of `channel` belong to one of the topics."""
        is_covered = self._cache.get(channel)
        if is_covered is None:
            if self._prefixes is not None and not channel.startswith(self._prefixes):
                return False
            if len(self._cache) >= _CACHE_SIZE + len(self._names):
                self._cache = self._names.copy()
            is_covered = self._cache[channel] = self.patterns.matches(channel)
        return is_covered


def _common_segment(one: str, other: str) -> str | None:
    """Return what both segments of two topics match; None if nothing."""
    if one == other or other == _REST or (other == _ONE and one != _REST):
        return one
    return other if one in (_ONE, _REST) else None


def _problem(name: str) -> str | None:
    """Return what is wrong with the length or the Unicode characters of a name; None if nothing is."""
    if not name:
        return "must not be empty"
    if len(name) > MAX_BYTES and _is_too_long(name):
        return _TOO_LONG
    return None if name.isascii() else _unicode_problem(name)


def _is_too_long(name: str) -> bool:
    return len(name.removeprefix(PRESENCE).encode("utf-8", "surrogatepass")) > MAX_BYTES


def _unicode_problem(name: str) -> str | None:
    if _is_too_long(name):
        return _TOO_LONG
    if _INVISIBLE.search(name):
        return "must not contain bidirectional controls or zero-width characters"
    if not is_normalized("NFC", name):
        return "must be in Unicode normalization form C (NFC)"
    return None


def _segment_problem(segments: list[str]) -> str | None:
    """Return what is wrong with segments other than wildcards; None if nothing is."""
    if not all(segments):
        return "must not have an empty segment"
    if not _DOTS.isdisjoint(segments):
        return "must not have . or .. as a segment, which clients and proxies resolve (RFC 3986, section 5.2.4)"
    if any(_FORBIDDEN.search(segment) for segment in segments):
        return "must not contain white space, control characters or any of * , ? # \\"
    return None
