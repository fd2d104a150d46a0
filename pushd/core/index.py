"""The index from topics to subscribers: a publish examines only the subscribers of its channel.

Channels are found in a dictionary, patterns in a tree of segments, except that deep patterns are in a table
of bit sets. The subscribers of a channel are cached until they may have changed, so they are computed once per
channel and not once per message.
"""

from collections.abc import Collection, Iterator
from itertools import chain
from typing import Any, Final, Generic, TypeVar

from pushd.core.names import is_pattern
from pushd.core.pattern_table import PatternTable
from pushd.core.patterns import BLOCK_SIZE

S = TypeVar("S")

_CACHE_SIZE = 1 << 18
"""The size of the cache in units of about eight bytes, such as a reference to a subscriber."""
_TREE_DEPTH = 8
"""The most segments of a pattern in the tree. So a channel of any length leads to at most some 500 nodes, whatever the
patterns: about 100 µs; and a pattern has few nodes, each of which takes up to 400 bytes."""
_CHANNEL_SIZE = 16
"""The size of a channel name in the cache, in the same units."""


_EMPTY: Final[dict[Any, Any]] = {}
"""Stands for each empty dictionary of a node; never changed. A dictionary of its own takes 64 bytes."""


class _Node(Generic[S]):
    """The patterns that share their first segments."""

    __slots__ = ("children", "here", "rest")

    def __init__(self) -> None:
        self.children: dict[str, _Node[S]] = _EMPTY
        self.here: dict[S, None] = _EMPTY
        """The subscribers whose pattern ends here."""
        self.rest: dict[S, None] = _EMPTY
        """The subscribers whose pattern has only ``**`` after this."""

    def child(self, segment: str) -> "_Node[S]":
        """Return the node of a segment after this one, which is created if there is none."""
        if self.children is _EMPTY:
            self.children = {}
        found = self.children.get(segment)
        if found is None:
            found = self.children[segment] = _Node()
        return found

    def is_empty(self) -> bool:
        """Return whether no pattern ends or continues here."""
        return not (self.children or self.here or self.rest)


class TopicIndex(Generic[S]):
    """The subscribers of each topic. `S` is any type that hashes by identity."""

    def __init__(self) -> None:
        self._exact: dict[str, dict[S, None]] = {}
        self._root: _Node[S] = _Node()
        self._deep: PatternTable[S] = PatternTable()
        self._matched: dict[str, tuple[S, ...]] = {}
        self._by_patterns: dict[tuple[int | tuple[int, int], ...], tuple[S, ...]] = {}
        """The subscribers by patterns, by the ids of the patterns' leaves and the sets of deep patterns: channels that
        match the same patterns share one tuple."""
        self._cached = 0
        """The size of the cache; see `_CACHE_SIZE`."""

    def add(self, topic: str, subscriber: S) -> None:
        """Subscribe `subscriber` to `topic`."""
        if not is_pattern(topic):
            self._exact.setdefault(topic, {})[subscriber] = None
            self._invalidate(topic)
            return
        if _is_deep(topic):
            self._deep.add(topic, subscriber)
        else:
            self._leaf(topic)[subscriber] = None
        self._invalidate_all()

    def remove(self, topic: str, subscriber: S) -> None:
        """Unsubscribe `subscriber` from `topic`. Does nothing if it is not subscribed."""
        if not is_pattern(topic):
            subscribers = self._exact.get(topic, {})
            subscribers.pop(subscriber, None)
            if not subscribers:
                self._exact.pop(topic, None)
            self._invalidate(topic)
            return
        self._invalidate_all()
        if _is_deep(topic):
            self._deep.remove(topic, subscriber)
            return
        leaf = self._leaf(topic)
        leaf.pop(subscriber, None)
        if not leaf:
            self._prune(topic)

    def by_name(self, channel: str) -> Collection[S]:
        """Return the subscribers that subscribed to this channel by name, not by a pattern."""
        return self._exact.get(channel, {}).keys()

    def match(self, channel: str) -> tuple[S, ...]:
        """Return the subscribers of `channel`, by name or by a pattern, each once. Equal results may be one tuple."""
        matched = self._matched.get(channel)
        return self._find(channel) if matched is None else matched

    @property
    def is_slow(self) -> bool:
        """Whether the first `match` of a channel may take more than a tenth of a millisecond."""
        return len(self._deep) > BLOCK_SIZE

    def __len__(self) -> int:
        """Return the number of channels with subscribers by name."""
        return len(self._exact)

    def _leaf(self, pattern: str) -> dict[S, None]:
        node = self._root
        segments = pattern.split("/")
        is_open = segments[-1] == "**"
        for segment in segments[:-1] if is_open else segments:
            node = node.child(segment)
        if is_open:
            if node.rest is _EMPTY:
                node.rest = {}
            return node.rest
        if node.here is _EMPTY:
            node.here = {}
        return node.here

    def _prune(self, pattern: str) -> None:
        path = [self._root]
        segments = [segment for segment in pattern.split("/") if segment != "**"]
        for segment in segments:
            path.append(path[-1].children[segment])
        for segment in reversed(segments):
            if not path.pop().is_empty():
                return
            del path[-1].children[segment]
        if self._root.is_empty():
            self._root = _Node()

    def _find(self, channel: str) -> tuple[S, ...]:
        exact = self._exact.get(channel)
        leaves = list(self._walk(channel)) if not self._root.is_empty() else []
        deep = self._deep.matching(channel) if self._deep else []
        key: tuple[int | tuple[int, int], ...] = (*map(id, leaves), *deep)
        by_pattern = self._by_patterns.get(key, ())
        count = _CHANNEL_SIZE
        if key and not by_pattern:
            by_pattern = tuple(dict.fromkeys(chain(*leaves, self._deep.subscribers(deep))))
            count += len(by_pattern) + len(key)
        matched = by_pattern
        if exact:
            matched = self._join(exact, leaves, by_pattern, is_deep=bool(deep))
            count += len(matched)
        self._cached += count
        if self._cached > _CACHE_SIZE:
            self._invalidate_all()
            self._cached = count
        if key:
            self._by_patterns[key] = by_pattern
        self._matched[channel] = matched
        return matched

    @staticmethod
    def _join(
        exact: dict[S, None], leaves: list[dict[S, None]], by_pattern: tuple[S, ...], *, is_deep: bool
    ) -> tuple[S, ...]:
        """Return the subscribers by name and by patterns, each once."""
        if is_deep or any(subscriber in leaf for leaf in leaves for subscriber in exact):
            return tuple(dict.fromkeys(chain(exact, by_pattern)))
        return (*exact, *by_pattern)

    def _invalidate(self, channel: str) -> None:
        if self._matched.pop(channel, None) is not None:
            self._cached -= _CHANNEL_SIZE

    def _invalidate_all(self) -> None:
        self._matched.clear()
        self._by_patterns.clear()
        self._cached = 0

    def _walk(self, channel: str) -> Iterator[dict[S, None]]:
        """Iterate over the leaves of the patterns that match a channel."""
        level = [self._root]
        for depth, segment in enumerate(channel.split("/")):
            is_wild = depth > 0 or segment[0] != "$"
            below: list[_Node[S]] = []
            for node in level:
                if node.rest and is_wild:
                    yield node.rest
                if segment in node.children:
                    below.append(node.children[segment])
                if is_wild and "*" in node.children:
                    below.append(node.children["*"])
            level = below
        yield from (node.here for node in level if node.here)


def _is_deep(pattern: str) -> bool:
    """Return whether a pattern has too many segments for the tree."""
    return pattern.count("/") >= _TREE_DEPTH
