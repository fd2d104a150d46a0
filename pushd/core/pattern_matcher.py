"""Match channels against many topics at once, in time that does not grow with the number of topics.

The patterns form a tree of segments. A set of tree nodes that were reached by the same segments is a *state*, and the
transitions between states are computed once and cached, as in a deterministic automaton that is built lazily: a channel
then costs one dictionary lookup per segment, however many patterns overlap.
"""

from collections.abc import Iterable
from typing import Final

from pushd.core.names import is_pattern

_CACHED: Final = 1 << 16
"""Tree nodes and segments in all cached states together; beyond that the cache is emptied."""


class _Node:
    """The patterns that share their first segments."""

    __slots__ = ("any", "end", "literals", "rest")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.any: _Node | None = None
        """Behind the segment ``*``."""
        self.end = ""
        """The pattern that ends here; empty for none."""
        self.rest = ""
        """The pattern that ends here with a last ``**``; empty for none."""


class _State:
    """The tree nodes that the first segments of a channel lead to."""

    __slots__ = ("ends", "literals", "next", "nodes", "other", "rests")

    def __init__(self, nodes: frozenset[_Node]) -> None:
        self.nodes = nodes
        self.literals = {segment for node in nodes for segment in node.literals}
        self.next: dict[str, _State] = {}
        self.other: _State | None = None
        """What any segment leads to that is not among `literals`."""
        self.ends = [node.end for node in nodes if node.end]
        """The patterns that match a channel that ends here."""
        self.rests = [node.rest for node in nodes if node.rest]
        """The patterns that match every channel that goes on from here."""


class PatternMatcher:
    """A set of valid topics."""

    def __init__(self, topics: Iterable[str]) -> None:
        self._exact: set[str] = set()
        self._root = _Node()
        self._left = 0
        for topic in topics:
            if is_pattern(topic):
                self._insert(topic)
            else:
                self._exact.add(topic)
        self._taken: set[str] = set()
        self._clear()

    @property
    def is_exhausted(self) -> bool:
        """Whether every pattern was taken."""
        return not self._left

    def covers(self, channel: str) -> bool:
        """Return whether any of the topics covers a valid channel."""
        if channel in self._exact:
            return True
        state = self._start(channel)
        for segment in channel.split("/"):
            if state.rests:
                return True
            state = self._step(state, segment)
            if not state.nodes:
                return False
        return bool(state.ends)

    def take(self, channel: str) -> list[str]:
        """Return the patterns that match a valid channel and were not returned for any channel before."""
        state = self._start(channel)
        found: list[str] = []
        for segment in channel.split("/"):
            if state.rests:
                found += state.rests
                state.rests = []
            state = self._step(state, segment)
            if not state.nodes:
                break
        else:
            if state.ends:
                found += state.ends
                state.ends = []
        if found:
            # Other states may still name a pattern that was taken by this one.
            found = [pattern for pattern in found if pattern not in self._taken]
            self._taken.update(found)
            self._left -= len(found)
        return found

    def _insert(self, pattern: str) -> None:
        node = self._root
        segments = pattern.split("/")
        is_open = segments[-1] == "**"
        for segment in segments[:-1] if is_open else segments:
            if segment == "*":
                following = node.any = node.any or _Node()
                node = following
            else:
                node = node.literals.setdefault(segment, _Node())
        if is_open:
            self._left += not node.rest
            node.rest = pattern
        else:
            self._left += not node.end
            node.end = pattern

    def _clear(self) -> None:
        root = _Node()
        root.literals = self._root.literals
        # A wildcard in first place does not match names that begin with $: see `core.names.matches`.
        self._reserved = _State(frozenset((root,)))
        self._ordinary = _State(frozenset((self._root,)))
        self._states: dict[frozenset[_Node], _State] = {}
        self._cached = 0

    def _start(self, channel: str) -> _State:
        if self._cached > _CACHED:
            self._clear()
        return self._reserved if channel[0] == "$" else self._ordinary

    def _step(self, state: _State, segment: str) -> _State:
        if segment in state.literals:
            return state.next.get(segment) or self._literal(state, segment)
        return state.other or self._other(state)

    def _literal(self, state: _State, segment: str) -> _State:
        nodes = {node.any for node in state.nodes if node.any}
        nodes.update(node.literals[segment] for node in state.nodes if segment in node.literals)
        following = state.next[segment] = self._state(frozenset(nodes))
        return following

    def _other(self, state: _State) -> _State:
        state.other = self._state(frozenset(node.any for node in state.nodes if node.any))
        return state.other

    def _state(self, nodes: frozenset[_Node]) -> _State:
        state = self._states.get(nodes)
        if state is None:
            state = self._states[nodes] = _State(nodes)
            self._cached += 1 + len(nodes) + len(state.literals)
        return state
