"""The index from channels to those who hear them, so that a publish never looks at a subscriber it does not concern.

Channels are found in a dictionary, patterns in a tree of segments. Who hears a channel is remembered until that may
have changed, so that it is worked out once per channel and not once per message.
"""

from collections.abc import Collection, Iterator
from itertools import chain
from typing import Generic, TypeVar

from pushd.core.names import is_pattern

S = TypeVar("S")

_REMEMBERED = 1 << 18
"""Subscribers and channels that are remembered in all, each worth eight bytes or so."""
_CHANNEL = 16
"""What the name of a channel counts among them."""


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
        self._matched: dict[str, tuple[S, ...]] = {}
        self._crowds: dict[tuple[int, ...], tuple[S, ...]] = {}
        """Those who hear a channel by patterns, by the leaves of these: one tuple for all such channels."""
        self._remembered = 0

    def add(self, topic: str, subscriber: S) -> None:
        """Let `subscriber` hear `topic`."""
        if not is_pattern(topic):
            self._exact.setdefault(topic, {})[subscriber] = None
            self._invalidate(topic)
            return
        self._leaf(topic)[subscriber] = None
        self._invalidate_all()

    def remove(self, topic: str, subscriber: S) -> None:
        """Undo `add`; nothing happens where there was none."""
        if not is_pattern(topic):
            heard = self._exact.get(topic, {})
            heard.pop(subscriber, None)
            if not heard:
                self._exact.pop(topic, None)
            self._invalidate(topic)
            return
        leaf = self._leaf(topic)
        leaf.pop(subscriber, None)
        self._invalidate_all()
        if not leaf:
            self._prune(topic)

    def by_name(self, channel: str) -> Collection[S]:
        """Those who named this very channel."""
        return self._exact.get(channel, {}).keys()

    def subscribers(self) -> Collection[S]:
        """Those who hear anything at all, each once."""
        found: dict[S, None] = {}
        for heard in self._exact.values():
            found.update(heard)
        nodes = [self._root]
        while nodes:
            node = nodes.pop()
            found.update(node.here)
            found.update(node.rest)
            nodes.extend(node.children.values())
        return found.keys()

    def match(self, channel: str) -> tuple[S, ...]:
        """Those who hear a message of `channel`, each once."""
        heard = self._matched.get(channel)
        return self._work_out(channel) if heard is None else heard

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

    def _work_out(self, channel: str) -> tuple[S, ...]:
        exact = self._exact.get(channel)
        leaves = list(self._walk(channel)) if not self._root.is_empty() else []
        key = tuple(map(id, leaves))
        crowd = self._crowds.get(key, ())
        count = _CHANNEL
        if leaves and not crowd:
            crowd = tuple(dict.fromkeys(chain.from_iterable(leaves)))
            count += len(crowd)
        matched = crowd
        if exact:
            is_apart = not any(subscriber in leaf for leaf in leaves for subscriber in exact)
            matched = (*exact, *crowd) if is_apart else tuple(dict.fromkeys(chain(exact, crowd)))
            count += len(matched)
        self._remembered += count
        if self._remembered > _REMEMBERED:
            self._invalidate_all()
            self._remembered = count
        if leaves:
            self._crowds[key] = crowd
        self._matched[channel] = matched
        return matched

    def _invalidate(self, channel: str) -> None:
        if self._matched.pop(channel, None) is not None:
            self._remembered -= _CHANNEL

    def _invalidate_all(self) -> None:
        self._matched.clear()
        self._crowds.clear()
        self._remembered = 0

    def _walk(self, channel: str) -> Iterator[dict[S, None]]:
        """Find the patterns that cover a channel."""
        level = [self._root]
        for depth, segment in enumerate(channel.split("/")):
            wild = depth > 0 or segment[0] != "$"
            below: list[_Node[S]] = []
            for node in level:
                if node.rest and wild:
                    yield node.rest
                if segment in node.children:
                    below.append(node.children[segment])
                if wild and "*" in node.children:
                    below.append(node.children["*"])
            level = below
        yield from (node.here for node in level if node.here)
