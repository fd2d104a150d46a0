"""The index from channels to those who hear them, so that a publish never looks at a subscriber it does not concern.

Channels are found in a dictionary, patterns in a tree of segments. What matched a channel is remembered until
the set of patterns changes, so that the tree is walked once per channel and not once per message.
"""

from collections.abc import Collection
from typing import Generic, TypeVar

from pushd.core.names import is_pattern

S = TypeVar("S")

_REMEMBERED = 10_000


class _Node(Generic[S]):
    """The patterns that share their first segments."""

    __slots__ = ("children", "here", "rest")

    def __init__(self) -> None:
        self.children: dict[str, _Node[S]] = {}
        self.here: dict[S, None] = {}
        """Those whose pattern ends here."""
        self.rest: dict[S, None] = {}
        """Those whose pattern goes on with a last ``**``."""

    def is_empty(self) -> bool:
        return not (self.children or self.here or self.rest)


class TopicIndex(Generic[S]):
    """Who subscribes to what. `S` is anything that hashes by identity."""

    def __init__(self) -> None:
        self._exact: dict[str, dict[S, None]] = {}
        self._root: _Node[S] = _Node()
        self._matched: dict[str, tuple[dict[S, None], ...]] = {}

    def add(self, topic: str, subscriber: S) -> None:
        """Let `subscriber` hear `topic`."""
        if not is_pattern(topic):
            self._exact.setdefault(topic, {})[subscriber] = None
            return
        leaf = self._leaf(topic)
        if not leaf:
            self._matched.clear()
        leaf[subscriber] = None

    def remove(self, topic: str, subscriber: S) -> None:
        """Undo `add`; nothing happens where there was none."""
        if not is_pattern(topic):
            heard = self._exact.get(topic, {})
            heard.pop(subscriber, None)
            if not heard:
                self._exact.pop(topic, None)
            return
        leaf = self._leaf(topic)
        leaf.pop(subscriber, None)
        if not leaf:
            self._matched.clear()
            self._prune(topic)

    def exactly(self, channel: str) -> Collection[S]:
        """Those who named this very channel."""
        return self._exact.get(channel, {}).keys()

    def match(self, channel: str) -> Collection[S]:
        """Those who hear a message of `channel`, each once. Do not keep it: it may change with the next call."""
        exact = self._exact.get(channel)
        patterns = self._matched.get(channel)
        if patterns is None:
            patterns = self._walk(channel)
        if not patterns:
            return exact.keys() if exact else ()
        if not exact and len(patterns) == 1:
            return patterns[0].keys()
        found = dict(exact or {})
        for heard in patterns:
            found.update(heard)
        return found.keys()

    def __len__(self) -> int:
        """How many channels have subscribers of their own."""
        return len(self._exact)

    def _leaf(self, pattern: str) -> dict[S, None]:
        node = self._root
        segments = pattern.split("/")
        for segment in segments[:-1]:
            node = node.children.setdefault(segment, _Node())
        if segments[-1] == "**":
            return node.rest
        return node.children.setdefault(segments[-1], _Node()).here

    def _prune(self, pattern: str) -> None:
        path = [self._root]
        segments = [segment for segment in pattern.split("/") if segment != "**"]
        for segment in segments:
            path.append(path[-1].children[segment])
        for segment in reversed(segments):
            if not path.pop().is_empty():
                return
            del path[-1].children[segment]

    def _walk(self, channel: str) -> tuple[dict[S, None], ...]:
        segments = channel.split("/")
        found: list[dict[S, None]] = []
        level = [self._root]
        for depth, segment in enumerate(segments):
            wild = depth > 0 or segment[0] != "$"
            below: list[_Node[S]] = []
            for node in level:
                if node.rest and wild:
                    found.append(node.rest)
                if segment in node.children:
                    below.append(node.children[segment])
                if wild and "*" in node.children:
                    below.append(node.children["*"])
            level = below
        found.extend(node.here for node in level if node.here)
        if len(self._matched) >= _REMEMBERED:
            self._matched.clear()
        matched = self._matched[channel] = tuple(found)
        return matched
