"""Catch-up: the replay of a subscription, and the live messages that are held until it is complete.

Live messages are held within the limits of a queue. If there are too many they are discarded: they are in the history
too, and the replay continues until it has read them.
"""

from collections.abc import Sequence

from pushd.core.cursor import MessageId
from pushd.core.delivery import Delivery
from pushd.core.gap_reports import GapReports
from pushd.core.lookup import TopicLookup
from pushd.core.names import Interest
from pushd.core.outbox import QueueLimits


class CatchUp:
    """The state of the replay of one subscription.

    :param limits: the limits of the held messages.
    """

    __slots__ = (
        "_bytes",
        "_is_invalidated",
        "_limits",
        "_lookup",
        "_skipped",
        "ends",
        "held",
        "origin",
        "position",
        "reads_history",
        "reports",
        "topics",
    )

    def __init__(self, topics: Sequence[str], limits: QueueLimits) -> None:
        self.topics: dict[str, int] = dict.fromkeys(topics, 0)
        """The topics, in their order; all have the same start."""
        self._lookup: TopicLookup | None = None
        """Created on first use, since most subscriptions have nothing to replay."""
        self.held: list[Delivery] = []
        """The live messages that were held, in id order."""
        self.ends: dict[str, int] = {}
        """The channels that ended during the replay and whose end was not sent, in the order of their ends, each with
        the sequence after which it ended. Of several ends of a channel the last one counts."""
        self.origin: MessageId | None = None
        """The position from which the replay contains all messages; None before the topics are opened."""
        self.position = 0
        """The sequence up to which the history was read."""
        self.reads_history = False
        """Whether it was asked for with a cursor or a time, which needs the right to read the history."""
        self._bytes = 0
        """The bytes of `held`."""
        self._skipped = 0
        """The newest sequence that was not held: the replay must read up to it; 0 if there is none."""
        self._is_invalidated = False
        self._limits = limits
        self.reports = GapReports()
        """The gaps that were reported."""

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
        """Whether no live message or end has arrived, and nothing was invalidated, since the start."""
        return not (self.held or self.ends or self._skipped or self._is_invalidated)

    def unsubscribe(self, *topics: str) -> None:
        """Remove topics from the replay, and their held messages."""
        for topic in topics:
            self.topics.pop(topic, None)
            self.ends.pop(topic, None)
            if self._lookup is not None:
                self._lookup.remove(topic)
        if self.held:
            removed = Interest(topics)
            channels = [delivery.message.channel for delivery in self.held]
            if any(removed.covers(channel) and not self.covers(channel) for channel in channels):
                self._set_held([delivery for delivery in self.held if self.covers(delivery.message.channel)])

    def hold(self, delivery: Delivery) -> None:
        """Hold a live message. If the limits or the memory budget are exceeded, leave it to the replay instead."""
        message, limits = delivery.message, self._limits
        is_full = len(self.held) >= limits.messages or self._bytes + message.size > limits.bytes
        if is_full or limits.budget.is_over:
            if not message.is_kept:
                return
            self._discard_held()
        if self._skipped:
            if message.is_kept:
                self._skipped = message.seq
            return
        self.held.append(delivery)
        self._bytes += message.size
        limits.budget.hold(delivery)

    def add_end(self, channel: str, seq: int) -> None:
        """Record that a channel ended after a sequence. Pages report the ends up to `position`."""
        self.ends.pop(channel, None)
        self.ends[channel] = seq

    def take_held(self) -> list[Delivery]:
        """Remove and return the held messages."""
        held = self.held
        self._set_held([])
        return held

    def invalidate(self) -> None:
        """Discard the held messages, which may be incomplete after a resync. At least one more page must be read."""
        self._discard_held()
        self._skipped = self.position = 0
        self._is_invalidated = True

    def has_reached(self, position: MessageId) -> bool:
        """Return whether the replay, read up to `position`, and the held messages are complete together.

        If so, the held messages that the replay has read are discarded, and ephemeral ones that were before these.
        """
        epoch, seq = position
        if self._is_invalidated or self._skipped > seq:
            self._is_invalidated = False
            self._skipped = 0
            return False
        of_epoch = [delivery for delivery in self.held if delivery.message.epoch == epoch]
        self._set_held([delivery for delivery in of_epoch if delivery.order > seq])
        return True

    def _discard_held(self) -> None:
        self._skipped = self.held[-1].message.seq if self.held else self._skipped
        self._set_held([])

    def _set_held(self, kept: list[Delivery]) -> None:
        """Discard the held messages other than `kept`."""
        budget = self._limits.budget
        for delivery in kept:
            budget.hold(delivery)
        for delivery in self.held:
            budget.release(delivery)
        self.held = kept
        self._bytes = sum([delivery.size for delivery in kept])
