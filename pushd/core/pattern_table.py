"""The subscribers of deep patterns, those of many segments, found without a walk through a tree.

In a tree of segments, a channel of many segments leads to every node whose path has a ``*`` or the channel's own
segment at each position: a million nodes for ten thousand such patterns. Bit sets take one step for each segment and
block of patterns instead; see `pushd.core.patterns`.
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

from pushd.core.patterns import BLOCK_SIZE, PatternBlock

S = TypeVar("S")


class _Block(Generic[S]):
    """Some of the patterns."""

    __slots__ = ("leaves", "masks", "patterns")

    def __init__(self) -> None:
        self.patterns = PatternBlock()
        self.leaves: list[dict[S, None]] = []
        """The subscribers of each pattern, by its number."""
        self.masks: dict[S, int] = {}
        """The set of the patterns of each subscriber."""

    def subscribers(self, matched: int) -> Iterator[S]:
        """Iterate over the subscribers of a set of patterns, some of them several times."""
        if matched.bit_count() > len(self.masks):
            yield from (subscriber for subscriber, mask in self.masks.items() if mask & matched)
            return
        while matched:
            bit = matched & -matched
            yield from self.leaves[bit.bit_length() - 1]
            matched ^= bit


class PatternTable(Generic[S]):
    """The subscribers of each pattern. `S` is any type that hashes by identity."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[int, int]] = {}
        """The block and the number of each pattern."""
        self._blocks: list[_Block[S]] = []
        self._free: list[tuple[int, int]] = []
        """Places of removed patterns."""

    def __len__(self) -> int:
        """Return the number of patterns."""
        return len(self._places)

    def add(self, pattern: str, subscriber: S) -> None:
        """Subscribe `subscriber` to `pattern`."""
        place = self._places.get(pattern)
        if place is None:
            place = self._places[pattern] = self._free.pop() if self._free else self._new_place()
            self._blocks[place[0]].patterns.add(place[1], pattern)
        block, number = self._blocks[place[0]], place[1]
        block.leaves[number][subscriber] = None
        block.masks[subscriber] = block.masks.get(subscriber, 0) | 1 << number

    def remove(self, pattern: str, subscriber: S) -> None:
        """Unsubscribe `subscriber` from `pattern`. Does nothing if it is not subscribed."""
        place = self._places.get(pattern)
        if place is None:
            return
        block, number = self._blocks[place[0]], place[1]
        leaf = block.leaves[number]
        if subscriber not in leaf:
            return
        del leaf[subscriber]
        if left := block.masks[subscriber] ^ 1 << number:
            block.masks[subscriber] = left
        else:
            del block.masks[subscriber]
        if not leaf:
            self._remove_pattern(pattern, block, place)

    def matching(self, channel: str) -> list[tuple[int, int]]:
        """Return the sets of patterns that match a channel, each as the number of a block and a set that is not empty.

        They are valid until a pattern is added or removed.
        """
        segments = channel.split("/")
        return [
            (number, matched)
            for number, block in enumerate(self._blocks)
            if (matched := block.patterns.matching(segments))
        ]

    def subscribers(self, sets: list[tuple[int, int]]) -> Iterator[S]:
        """Iterate over the subscribers of sets of patterns, some of them several times."""
        for number, matched in sets:
            yield from self._blocks[number].subscribers(matched)

    def _new_place(self) -> tuple[int, int]:
        if not self._blocks or len(self._blocks[-1].leaves) == BLOCK_SIZE:
            self._blocks.append(_Block())
        leaves = self._blocks[-1].leaves
        leaves.append({})
        return len(self._blocks) - 1, len(leaves) - 1

    def _remove_pattern(self, pattern: str, block: _Block[S], place: tuple[int, int]) -> None:
        del self._places[pattern]
        if self._places:
            block.patterns.remove(place[1], pattern)
            self._free.append(place)
        else:
            self._blocks.clear()
            self._free.clear()
