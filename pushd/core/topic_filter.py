"""The topics of a subscriber, and which messages it receives live.

A topic is in one of two states:

    state         live messages                          left by
    REPLAYING     are held beside the replay             the last page of the replay, which leads to LIVE
    LIVE          are sent, if newer than its start      `unsubscribe`, `close`

A channel that ends stays live: it may begin anew.
"""

from collections.abc import Collection, Iterable
from typing import Final

from pushd.core.lookup import TopicLookup
from pushd.core.message import Message
from pushd.core.names import is_pattern, matches

REPLAYING: Final = 1 << 62
"""The start of a topic that is being replayed: no sequence is newer."""
UNKNOWN: Final = REPLAYING + 1
"""The floor after the starts have changed, before it is computed again."""
FEW_TOPICS: Final = 16
"""Number of topics up to which the floor is computed whenever a start changes."""

_NO_ORIGINS: Final[dict[str, int]] = {}
"""Shared by the subscribers that record origins and have none; it is never changed."""


class TopicFilter:
    """The base class of a subscriber with its topics; `Subscriber` has the reason."""

    __slots__ = ("_examined_up_to", "_floor", "_lookup", "_origins", "starts")

    def __init__(self) -> None:
        self.starts: dict[str, int] = {}
        """The topics, each with its start: only messages with greater sequences are received live."""
        self._floor = 0
        """Messages with greater sequences are received without a look at the starts. A floor that is too high costs
        that look, and nothing else."""
        self._lookup: TopicLookup | None = None
        """Made when patterns have to be looked up; most subscribers never need it."""
        self._origins: dict[str, int] | None = None
        """The sequences from which topics were replayed before they were live; None if they are not recorded."""
        self._examined_up_to = 0
        """Messages up to this order may be of a topic that was unsubscribed from, or exclude this subscriber."""

    def topic_of(self, channel: str) -> str | None:
        """Return the topic by which the subscriber receives a channel; None if it does not."""
        return channel if channel in self.starts else self._earliest_pattern(channel)

    def topics_before(self, seq: int) -> list[str]:
        """Return the topics that may have received messages with at most this sequence live."""
        return [topic for topic, start in self.starts.items() if start < seq or start == REPLAYING]

    def live_topics_of(self, channel: str) -> list[str]:
        """Return the live topics that match a channel."""
        topics = [channel, *self._patterns.matching(channel)]
        return [topic for topic in topics if self.starts.get(topic, REPLAYING) != REPLAYING]

    @property
    def live_topics(self) -> dict[str, int]:
        """The live topics, with their starts."""
        return {topic: start for topic, start in self.starts.items() if start != REPLAYING}

    def record_origins(self) -> None:
        """Record from where topics are replayed, so that a message is received once if a topic that is subscribed to
        later matches it too. Called for peers that may subscribe again.
        """
        self._origins = _NO_ORIGINS

    def _was_received(self, message: Message) -> bool:
        """Return whether a message of the history was received by a live topic, live or when that was replayed."""
        if self._is_live(message):
            return True
        origins = self._origins
        if not origins:
            return False
        return any(message.seq > origins.get(topic, REPLAYING) for topic in self.live_topics_of(message.channel))

    def _set_origins(self, topics: Iterable[str], seq: int) -> None:
        """Record that topics were replayed from a sequence on."""
        origins = self._origins
        if origins is not None:
            if origins is _NO_ORIGINS:
                origins = self._origins = {}
            for topic in topics:
                origins[topic] = min(seq, origins.get(topic, seq))

    def _forget_origins(self, topics: Iterable[str]) -> None:
        if self._origins:
            for topic in topics:
                self._origins.pop(topic, None)

    def _is_live(self, message: Message) -> bool:
        """Return whether a message is, or was, received live by one of the topics."""
        seq, channel = message.order, message.channel
        if seq > self.starts.get(channel, REPLAYING):
            return True
        pattern = self._earliest_pattern(channel)
        return pattern is not None and seq > self.starts[pattern]

    @property
    def _patterns(self) -> TopicLookup:
        """The lookup of the patterns that match a channel."""
        if self._lookup is None:
            self._lookup = TopicLookup(self.starts)
        return self._lookup

    def _earliest_pattern(self, channel: str) -> str | None:
        """Return the pattern with the earliest start that matches a channel; None if none does."""
        if self._lookup is not None or len(self.starts) > FEW_TOPICS:
            return self._patterns.earliest(channel)
        found = None
        for topic, start in self.starts.items():
            if is_pattern(topic) and matches(topic, channel) and (found is None or start < self.starts[found]):
                found = topic
        return found

    def _set_starts(self, topics: Collection[str], start: int) -> None:
        """Set the start of topics."""
        self.starts.update(dict.fromkeys(topics, start))
        if self._lookup is not None:
            self._lookup.add(topics)

    def _forget_topics(self, topics: Collection[str], newest: int) -> None:
        """Remove topics; messages up to the sequence `newest` may still be on their way."""
        for topic in topics:
            self.starts.pop(topic, None)
            if self._lookup is not None:
                self._lookup.remove(topic)
        self._forget_origins(topics)
        self._examined_up_to = max(self._examined_up_to, newest)

    def _highest_start(self) -> int:
        """Return the exact floor."""
        return max((self._examined_up_to, *self.starts.values()))
