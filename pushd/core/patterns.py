"""Patterns compiled to bit sets: one walk over the segments of a channel finds all the patterns that match it.

Bit ``i`` of a set stands for pattern ``i``. A level holds, for one position in a name, the patterns that accept each
literal segment there. The set of matching patterns is the intersection over the levels, so the work for a channel is
at most one dictionary lookup and one ``&`` per segment and block of patterns, whatever the wildcards.
"""

from collections import deque
from collections.abc import Iterator, Sequence

BLOCK_SIZE = 512
"""The number of patterns compiled together. It bounds the size of the bit sets, one for each literal segment."""


class PatternSet:
    """A sequence of valid patterns that are matched together.

    :param patterns: each a valid topic with a wildcard; see `pushd.core.names`.
    """

    __slots__ = ("_blocks", "_patterns")

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = patterns
        self._blocks: list[PatternBlock] = []

    def __len__(self) -> int:
        """Return the number of patterns."""
        return len(self._patterns)

    def compile(self) -> Iterator[None]:
        """Compile the patterns, a block in each step. Otherwise the first match compiles them."""
        while (start := len(self._blocks) * BLOCK_SIZE) < len(self._patterns):
            block = PatternBlock()
            for number, pattern in enumerate(self._patterns[start : start + BLOCK_SIZE]):
                block.add(number, pattern)
            self._blocks.append(block)
            if start + BLOCK_SIZE < len(self._patterns):
                yield

    def matching(self, channel: str) -> int:
        """Return the set of the patterns that match `channel`: bit ``i`` is set if pattern ``i`` does."""
        self._complete()
        segments = channel.split("/")
        found = 0
        for number, block in enumerate(self._blocks):
            if matched := block.matching(segments):
                found |= matched << number * BLOCK_SIZE
        return found

    def matches(self, channel: str) -> bool:
        """Return whether any of the patterns matches `channel`."""
        self._complete()
        segments = channel.split("/")
        return any(block.matching(segments) for block in self._blocks)

    def _complete(self) -> None:
        if len(self._blocks) * BLOCK_SIZE < len(self._patterns):
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


class PatternBlock:
    """Some patterns as bit sets, each with a number of its own. They may be added and removed."""

    __slots__ = ("_by_length", "_literals", "_open", "_wild")

    def __init__(self) -> None:
        self._open = 0
        """The patterns that end in ``**``."""
        self._by_length = [0]
        """By number of segments: the patterns that can match a name of that length."""
        self._literals: list[dict[str, int]] = []
        """By position: the patterns with each literal segment."""
        self._wild: list[int] = []
        """By position: the patterns that accept any segment."""

    def add(self, number: int, pattern: str) -> None:
        """Add a pattern; no other has this number."""
        bit = 1 << number
        segments = self._deepened(pattern)
        if segments[-1] == "**":
            segments.pop()
            self._open |= bit
        self._toggle_lengths(bit, segments, is_open=bool(self._open & bit))
        for position, segment in enumerate(segments):
            if segment == "*":
                self._wild[position] |= bit
            else:
                literals = self._literals[position]
                literals[segment] = literals.get(segment, 0) | bit

    def remove(self, number: int, pattern: str) -> None:
        """Remove a pattern that was added with this number."""
        bit = 1 << number
        segments = pattern.split("/")
        is_open = segments[-1] == "**"
        if is_open:
            segments.pop()
            self._open ^= bit
        self._toggle_lengths(bit, segments, is_open=is_open)
        for position, segment in enumerate(segments):
            if segment == "*":
                self._wild[position] ^= bit
            elif left := self._literals[position][segment] ^ bit:
                self._literals[position][segment] = left
            else:
                del self._literals[position][segment]

    def matching(self, segments: list[str]) -> int:
        """Return the set of the patterns that match a channel, given as its segments."""
        length = len(segments)
        matched = self._by_length[length] if length < len(self._by_length) else self._open
        if not matched:
            return 0
        if segments[0][0] == "$":
            matched &= ~self._wild[0]
        for segment, literals, wild in zip(segments, self._literals, self._wild, strict=False):
            matched &= literals.get(segment, 0) | wild
            if not matched:
                return 0
        return matched

    def _deepened(self, pattern: str) -> list[str]:
        """Return the segments of a pattern, for which there are enough levels afterwards."""
        segments = pattern.split("/")
        while len(self._wild) < len(segments):
            self._literals.append({})
            self._wild.append(self._open)
            self._by_length.append(self._open)
        return segments

    def _toggle_lengths(self, bit: int, segments: Sequence[str], *, is_open: bool) -> None:
        """Add a pattern to the lengths that it can match, or remove it from them.

        :param segments: those before ``**``.
        """
        count = len(segments)
        if not is_open:
            self._by_length[count] ^= bit
            return
        for length in range(count + 1, len(self._by_length)):
            self._by_length[length] ^= bit
            self._wild[length - 1] ^= bit
