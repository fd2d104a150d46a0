"""The patterns to which a node subscribes in Redis: a bounded number, whatever its subscribers ask for.

Redis compares each published message with every pattern of all nodes, so 10,000 patterns of one connection would make
every publish through any node many times slower. Up to a bound each pattern is subscribed to as it is. Above it, the
patterns that share their first segments are covered by a broader one, and the index of the node selects messages.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final

from pushd.core.names import is_pattern

_DEPTH: Final = 8
"""The most segments of a broader pattern before its wildcard."""


class PatternCover:
    """Assigns each pattern the one in Redis that covers it, here called its cover.

    A cover is written as a topic with `*` at its end, which in Redis matches any number of segments.

    :param most: the bound. Above it, covers are merged until half as many are left.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._assigned: dict[str, str] = {}
        """The cover of each pattern."""
        self._uses: Counter[str] = Counter()
        """The number of patterns by cover."""
        self._broad: set[str] = set()
        """The covers that were made by merging others."""

    def __getitem__(self, pattern: str) -> str:
        """Return the cover of a pattern that was added."""
        return self._assigned[pattern]

    def __len__(self) -> int:
        """Return the number of covers."""
        return len(self._uses)

    def __iter__(self) -> Iterator[str]:
        """Iterate over all covers."""
        return iter(self._uses)

    def __contains__(self, cover: str) -> bool:
        """Return whether there is such a cover."""
        return cover in self._uses

    def add(self, pattern: str) -> None:
        """Add a pattern, once."""
        self._assign(pattern, next((each for each in _broader(pattern) if each in self._broad), _own(pattern)))
        if len(self._uses) > self._most:
            self._merge()

    def remove(self, pattern: str) -> None:
        """Remove a pattern. When few are left, each is its own cover again."""
        self._release(self._assigned.pop(pattern))
        if self._broad and len(self._assigned) <= self._most // 2:
            self._broad.clear()
            for each in list(self._assigned):
                self._release(self._assigned[each])
                self._assign(each, _own(each))

    def _assign(self, pattern: str, cover: str) -> None:
        self._assigned[pattern] = cover
        self._uses[cover] += 1

    def _release(self, cover: str) -> None:
        self._uses[cover] -= 1
        if not self._uses[cover]:
            del self._uses[cover]
            self._broad.discard(cover)

    def _merge(self) -> None:
        """Merge covers with the same first segments: first where there are many, and all of them only at last."""
        groups: defaultdict[str, list[str]] = defaultdict(list)
        for cover in self._uses:
            for broader in _broader(cover):
                groups[broader].append(cover)
        merged: dict[str, str] = {}
        left = len(self._uses)
        for broader in sorted(groups, key=lambda each: (each == "*", -len(groups[each]), -each.count("/"))):
            if left <= self._most // 2:
                break
            members = [cover for cover in groups[broader] if cover not in merged]
            if len(members) > 1 or broader == "*":
                merged |= dict.fromkeys(members, broader)
                left -= len(members) - 1
        self._replace(merged)

    def _replace(self, merged: dict[str, str]) -> None:
        for pattern, cover in self._assigned.items():
            while cover in merged and merged[cover] != cover:
                cover = merged[cover]
            self._assigned[pattern] = cover
        self._uses = Counter(self._assigned.values())
        self._broad = {cover for cover in {*self._broad, *merged.values()} if cover in self._uses}


def _own(pattern: str) -> str:
    """Return the cover of a single pattern: in Redis a final `**` and `*` are the same."""
    return pattern[:-1] if pattern.endswith("**") else pattern


def _broader(pattern: str) -> Iterator[str]:
    """Iterate over the covers of a pattern, the narrowest first."""
    segments = pattern.split("/")
    literal = next(number for number, segment in enumerate(segments) if is_pattern(segment))
    for depth in range(min(literal, _DEPTH), -1, -1):
        yield "/".join([*segments[:depth], "*"])
