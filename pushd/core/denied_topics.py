"""Denied topics, indexed: whether a channel of a requested topic is among them."""

from collections.abc import Sequence


class DeniedTopics:
    """Valid topics as bit sets: bit ``i`` stands for topic ``i``, and each segment of a requested topic narrows the
    set of those that intersect it.

    The time is proportional to the segments of the requested topic, not to the number of denied ones.
    """

    __slots__ = ("_at", "_ends", "_literals", "_reserved", "_rests", "_wild", "_wild_first")

    def __init__(self, topics: Sequence[str]) -> None:
        split = [topic.split("/") for topic in topics]
        depth = max(map(len, split), default=0)
        self._literals: list[dict[str, int]] = [{} for _ in range(depth)]
        """For each depth, the topics with a given literal segment there, and those with a wildcard there."""
        self._wild = [0] * depth
        """For each depth, the topics with ``*`` there, or ``**`` there or before."""
        self._at = [0] * depth
        """For each depth, the topics that match a channel with a segment there."""
        self._ends = [0] * (depth + 1)
        """The topics without ``**``, by their number of segments."""
        self._rests = [0] * (depth + 1)
        """The topics whose ``**`` is among the first segments, by the number of those."""
        self._reserved = 0
        """The topics that begin with ``$``."""
        self._wild_first = 0
        for number, segments in enumerate(split):
            self._add(1 << number, segments)
        for literals, wild in zip(self._literals, self._wild, strict=True):
            for segment in literals:
                literals[segment] |= wild

    def _add(self, bit: int, segments: list[str]) -> None:
        if segments[0][0] == "$":
            self._reserved |= bit
        if segments[0] in ("*", "**"):
            self._wild_first |= bit
        is_open = segments[-1] == "**"
        for depth, segment in enumerate(segments):
            self._at[depth] |= bit
            if segment in ("*", "**"):
                self._wild[depth] |= bit
            else:
                self._literals[depth][segment] = self._literals[depth].get(segment, 0) | bit
        if not is_open:
            self._ends[len(segments)] |= bit
            return
        for depth in range(len(segments), len(self._at)):
            self._at[depth] |= bit
            self._wild[depth] |= bit
        for length in range(len(segments), len(self._rests)):
            self._rests[length] |= bit

    def intersects(self, requested: str) -> bool:
        """Return whether a channel may match `requested`, a valid topic, and one of the denied topics."""
        segments = requested.split("/")
        matching = -1
        if requested[0] == "$":
            matching = ~self._wild_first
        elif requested[0] == "*":
            matching = ~self._reserved
        for segment, literals, wild, present in zip(segments, self._literals, self._wild, self._at, strict=False):
            if segment == "**":
                return bool(matching & present)
            matching &= present if segment == "*" else literals.get(segment, wild)
            if not matching:
                return False
        return bool(matching & self._ending(segments))

    def _ending(self, segments: list[str]) -> int:
        """Return the topics that may end after as many segments as those of a requested topic."""
        length = len(segments)
        if length >= len(self._ends):
            return self._rests[-1]
        return self._ends[length] | self._rests[length]
