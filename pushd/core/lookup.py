"""Lookup of the topics of one subscriber by channel, without testing each topic."""

from collections.abc import Iterable, Iterator, Mapping

from pushd.core.names import is_pattern, matches
from pushd.core.patterns import PatternSet

_MAX_UNCOMPILED = 16
"""The most patterns that are tested one by one and not compiled."""

_BLOCKS = 2
"""Blocks of patterns that one `TopicLookup.prepare` compiles: about 10 ms if each pattern has a hundred segments."""
_COMPILED = object()


class TopicLookup:
    """Finds the patterns that match a channel among the topics of one subscriber.

    Patterns are compiled in the order of their starts, so the first that matches has the earliest start. Topics that
    were added since are few and tested one by one; those that were removed or have a new start are skipped once.

    :param starts: the topics with the sequences after which they are live; its owner reports each change.
    """

    __slots__ = ("_compiled", "_current", "_patterns", "_starts", "_uncompiled")

    def __init__(self, starts: Mapping[str, int]) -> None:
        self._starts = starts
        self._uncompiled = dict.fromkeys(topic for topic in starts if is_pattern(topic))
        """Patterns that are not compiled, or were compiled with another start."""
        self._patterns: list[tuple[str, int]] = []
        """The compiled patterns with their starts, by start."""
        self._compiled = PatternSet(())
        self._current = 0
        """The bit set of the compiled patterns that are not known to be outdated."""

    def add(self, topics: Iterable[str]) -> None:
        """Record that topics were added or have a new start."""
        self._uncompiled.update(dict.fromkeys(topic for topic in topics if is_pattern(topic)))

    def remove(self, topic: str) -> None:
        """Record that a topic was removed."""
        self._uncompiled.pop(topic, None)

    def prepare(self) -> bool:
        """Compile some of the patterns that are not compiled; return whether all are.

        A lookup compiles the rest at once, which takes long if there are many patterns with many segments.
        """
        if len(self._uncompiled) > _MAX_UNCOMPILED:
            self._compile()
        return all(next(self._compiled.compile(), _COMPILED) is _COMPILED for _ in range(_BLOCKS))

    def earliest(self, channel: str) -> str | None:
        """Return the pattern with the earliest start that matches `channel`; None if none does."""
        found = next(self._find(channel), None)
        starts = self._starts
        for topic in self._uncompiled:
            if matches(topic, channel) and (found is None or starts[topic] < starts[found]):
                found = topic
        return found

    def matching(self, channel: str) -> list[str]:
        """Return all patterns that match `channel`."""
        found = dict.fromkeys(self._find(channel))
        found.update(dict.fromkeys(topic for topic in self._uncompiled if matches(topic, channel)))
        return list(found)

    def _find(self, channel: str) -> Iterator[str]:
        """Iterate over the compiled patterns that match `channel`, by start."""
        if len(self._uncompiled) > _MAX_UNCOMPILED:
            self._compile()
        matched = self._compiled.matching(channel) & self._current
        while matched:
            bit = matched & -matched
            topic, start = self._patterns[bit.bit_length() - 1]
            if self._starts.get(topic) == start:
                yield topic
            else:
                self._current ^= bit
            matched ^= bit

    def _compile(self) -> None:
        patterns = [(topic, start) for topic, start in self._starts.items() if is_pattern(topic)]
        patterns.sort(key=lambda each: each[1])
        self._patterns = patterns
        self._compiled = PatternSet([topic for topic, _ in patterns])
        self._current = (1 << len(patterns)) - 1
        self._uncompiled.clear()
