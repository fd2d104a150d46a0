"""Catching up: what a subscription still reads from the history, and what arrives meanwhile.

Live messages wait beside the replay, within the limit of a queue. If they become too many they are forgotten: they are
in the history as well, and the replay goes on until it has reached them.
"""

from collections.abc import Iterable, Sequence

from pushd.core.cursor import MessageId
from pushd.core.delivery import Delivery
from pushd.core.lookup import TopicLookup
from pushd.core.message import Gap
from pushd.core.names import Interest
from pushd.core.outbox import QueueLimits


class CatchUp:
    """What one subscription still reads from the history, and what arrives meanwhile."""

    __slots__ = ("_bytes", "_is_invalidated", "_limits", "_lookup", "_reported", "_skipped", "ends", "held", "topics")

    def __init__(self, topics: Sequence[str], limits: QueueLimits) -> None:
        self.topics: dict[str, int] = dict.fromkeys(topics, 0)
        """The topics, in their order, each with the same start."""
        self._lookup: TopicLookup | None = None
        """Made when it is needed: most catch up with nothing."""
        self.held: list[Delivery] = []
        self.ends: dict[str, None] = {}
        """The channels that ended meanwhile, in their order."""
        self._bytes = 0
        self._skipped = 0
        self._is_invalidated = False
        self._limits = limits
        self._reported: set[tuple[str, str]] = set()

    def covers(self, channel: str) -> bool:
        """Return whether messages of `channel` belong to one of the topics."""
        return channel in self.topics or self._patterns.earliest(channel) is not None

    def prepare(self) -> bool:
        """Prepare to look up topics; see `TopicLookup.prepare`."""
        return self._patterns.prepare()

    @property
    def _patterns(self) -> TopicLookup:
        if self._lookup is None:
            self._lookup = TopicLookup(self.topics)
        return self._lookup

    @property
    def is_untouched(self) -> bool:
        """Whether nothing has come or become of the log since it began."""
        return not (self.held or self.ends or self._skipped or self._is_invalidated)

    def unsubscribe(self, *topics: str) -> None:
        """Read on without some topics."""
        for topic in topics:
            self.topics.pop(topic, None)
            if self._lookup is not None:
                self._lookup.remove(topic)
        if self.held:
            parted = Interest(topics)
            channels = [delivery.message.channel for delivery in self.held]
            if any(parted.covers(channel) and not self.covers(channel) for channel in channels):
                self._keep([delivery for delivery in self.held if self.covers(delivery.message.channel)])

    def hold(self, delivery: Delivery) -> None:
        """Let a live message wait, or if too many do, here or in all, leave it to the history, where it is as well."""
        message, limits = delivery.message, self._limits
        is_full = len(self.held) >= limits.messages or self._bytes + message.size > limits.bytes
        if is_full or limits.budget.is_over:
            self._discard_held()
        if self._skipped:
            self._skipped = message.seq
            return
        self.held.append(delivery)
        self._bytes += message.size
        limits.budget.hold(delivery)

    def take_held(self) -> list[Delivery]:
        """Take all that waits."""
        held = self.held
        self._keep([])
        return held

    def mark_reported(self, gaps: Iterable[Gap]) -> None:
        """Take gaps for told."""
        self._reported.update((gap.topic, gap.end) for gap in gaps)

    def unreported(self, gaps: Iterable[Gap]) -> list[Gap]:
        """Give the gaps that are news, and take them for told."""
        news = [gap for gap in gaps if (gap.topic, gap.end) not in self._reported]
        self.mark_reported(news)
        return news

    def invalidate(self) -> None:
        """Know that something may have become of the log: what is held may not be what comes next, and the history has
        to be asked once more."""
        self._discard_held()
        self._skipped = 0
        self._is_invalidated = True

    def has_reached(self, position: MessageId) -> bool:
        """Tell whether a replay up to `position` and what is held leave nothing out."""
        epoch, seq = position
        if self._is_invalidated or self._skipped > seq:
            self._is_invalidated = False
            self._skipped = 0
            return False
        waiting = [delivery for delivery in self.held if delivery.message.epoch == epoch]
        self._keep([delivery for delivery in waiting if delivery.message.seq > seq])
        return True

    def _discard_held(self) -> None:
        self._skipped = self.held[-1].message.seq if self.held else self._skipped
        self._keep([])

    def _keep(self, kept: list[Delivery]) -> None:
        """Hold these only, of those that are held."""
        budget = self._limits.budget
        for delivery in kept:
            budget.hold(delivery)
        for delivery in self.held:
            budget.release(delivery)
        self.held = kept
        self._bytes = sum([delivery.size for delivery in kept])
