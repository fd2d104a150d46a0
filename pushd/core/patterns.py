"""Patterns compiled to bit sets: one walk over the segments of a channel finds all the patterns that match it.

Bit ``i`` of a set stands for pattern ``i``. A level holds, for one position in a name, the patterns that accept each
literal segment there. The set of matching patterns is the intersection over the levels, so the work for a channel is
at most one dictionary lookup and one ``&`` per segment and block of patterns, whatever the wildcards.
"""

from collections import deque
from collections.abc import Iterator, Sequence

_BLOCK_SIZE = 512
"""The number of patterns compiled together. It bounds the size of the bit sets, one for each literal segment."""


class PatternSet:
    """A sequence of valid patterns that are matched together.

    :param patterns: each a valid topic with a wildcard; see `pushd.core.names`.
    """

    __slots__ = ("_blocks", "_patterns")

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = patterns
        self._blocks: list[_PatternBlock] = []

    def __len__(self) -> int:
        """Return the number of patterns."""
        return len(self._patterns)

    def compile(self) -> Iterator[None]:
        """Compile the patterns, a block in each step. Otherwise the first match compiles them."""
        while (start := len(self._blocks) * _BLOCK_SIZE) < len(self._patterns):
            self._blocks.append(_PatternBlock(self._patterns[start : start + _BLOCK_SIZE]))
            if start + _BLOCK_SIZE < len(self._patterns):
                yield

    def matching(self, channel: str) -> int:
        """Return the set of the patterns that match `channel`: bit ``i`` is set if pattern ``i`` does."""
        self._complete()
        segments = channel.split("/")
        found = 0
        for number, block in enumerate(self._blocks):
            if matched := block.matching(segments):
                found |= matched << number * _BLOCK_SIZE
        return found

    def matches(self, channel: str) -> bool:
        """Return whether any of the patterns matches `channel`."""
        self._complete()
        segments = channel.split("/")
        return any(block.matching(segments) for block in self._blocks)

    def _complete(self) -> None:
        if len(self._blocks) * _BLOCK_SIZE < len(self._patterns):
            deque(self.compile(), 0)


class UnmatchedPatterns:
    """Patterns without a match so far; each is taken by the first channel that matches it.

    :param patterns: each a valid topic with a wildcard, and each once.
    """

    __slots__ = ("_left", "_patterns", "_set")

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = patterns
        self._set = PatternSet(patterns)
        self._left = (1 << len(patterns)) - 1

    @property
    def is_empty(self) -> bool:
        """Whether every pattern was taken."""
        return not self._left

    def take(self, channel: str) -> list[str]:
        """Remove the patterns that match `channel` and return them, in their order."""
        matched = self._set.matching(channel) & self._left
        self._left ^= matched
        found = []
        while matched:
            bit = matched & -matched
            matched ^= bit
            found.append(self._patterns[bit.bit_length() - 1])
        return found


class _PatternBlock:
    """Some patterns as bit sets."""

    __slots__ = ("_by_length", "_levels", "_named_first", "_open")

    def __init__(self, patterns: Sequence[str]) -> None:
        split = [pattern.split("/") for pattern in patterns]
        depth = max(len(segments) for segments in split)
        self._open = 0
        """The patterns that end in ``**``."""
        self._by_length = [0] * (depth + 1)
        """By number of segments: the patterns that can match a name of that length."""
        literals: list[dict[str, int]] = [{} for _ in range(depth)]
        wild = [0] * depth
        for number, segments in enumerate(split):
            bit = 1 << number
            if segments[-1] == "**":
                segments.pop()
                self._open |= bit
                for length in range(len(segments) + 1, depth + 1):
                    self._by_length[length] |= bit
                    wild[length - 1] |= bit
            else:
                self._by_length[len(segments)] |= bit
            for position, segment in enumerate(segments):
                if segment == "*":
                    wild[position] |= bit
                else:
                    level = literals[position]
                    level[segment] = level.get(segment, 0) | bit
        self._named_first = ~wild[0]
        for level, any_segment in zip(literals, wild, strict=True):
            for segment in level:
                level[segment] |= any_segment
        self._levels = list(zip(literals, wild, strict=True))

    def matching(self, segments: list[str]) -> int:
        """Return the set of the patterns that match a channel, given as its segments."""
        length = len(segments)
        matched = self._by_length[length] if length < len(self._by_length) else self._open
        if segments[0][0] == "$":
            matched &= self._named_first
        if not matched:
            return 0
        for segment, (literals, wild) in zip(segments, self._levels, strict=False):
            matched &= literals.get(segment, wild)
            if not matched:
                return 0
        return matched
