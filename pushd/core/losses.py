"""Lost messages: which channels lost messages since when, and the newest loss of each of many patterns.

A message is lost when it is removed from the history: evicted, expired or deleted. A subscriber that missed it receives
a gap. Channels are ordered by the time of their newest loss. A message that was lost while the newest sequence was N
has a sequence of at most N. So a search for losses newer than a sequence visits only the channels with a loss since
that sequence was assigned, and a repeated search visits only the channels with a loss since the previous one.
"""

import heapq
from collections.abc import Iterable, Sequence
from itertools import islice
from operator import attrgetter
from typing import Final, NamedTuple

from pushd.core.history import Channel
from pushd.core.names import Interest
from pushd.core.steps import STEP, Steps

_SORTED_STEP: Final = 4096
"""Channels that are sorted in one step: about a millisecond."""


class NewestLoss(NamedTuple):
    """The newest lost message of a topic."""

    seq: int
    """0: none."""
    time: float
    """When it was accepted, in unix seconds."""
    reason: str


NO_LOSS: Final = NewestLoss(0, 0.0, "")


class LossIndex:
    """The channels that lost messages, whether they still have any or not, by the time of the newest loss."""

    def __init__(self) -> None:
        self._channels: dict[str, Channel] = {}
        """In the order of their newest losses."""
        self.count = 0
        """The number of losses so far."""

    def add(self, channel: Channel, head: int) -> None:
        """Record a loss of a channel; `head` is the newest sequence of the log."""
        self.count = channel.loss_number = self.count + 1
        channel.head_at_loss = head
        channels, name = self._channels, channel.name
        channels.pop(name, None)
        channels[name] = channel

    def replace(self, channel: Channel) -> None:
        """Replace the channel of the same name by `channel`, to which its newest loss was copied."""
        self._channels[channel.name] = channel

    def remove(self, name: str) -> None:
        """Remove a channel, if it is there."""
        self._channels.pop(name, None)

    def since(self, number: int, seq: int) -> list[Channel]:
        """Return the channels that lost a message newer than `seq`, with a newest loss after loss `number`."""
        found = []
        for channel in reversed(self._channels.values()):
            if channel.loss_number <= number or channel.head_at_loss <= seq:
                break
            if channel.lost > seq:
                found.append(channel)
        return found


class LossQuery:
    """A set of topics, at least one of them a pattern, with the newest loss found so far for each pattern."""

    def __init__(self, topics: Sequence[str]) -> None:
        self.interest = Interest(topics)
        self._losses = [NO_LOSS] * len(self.interest.patterns)
        self._floor: int | None = None
        self._number = 0
        """All losses up to this one that are newer than `_floor` were examined."""

    @property
    def losses(self) -> Sequence[NewestLoss]:
        """The newest loss of each pattern, in the order of the patterns."""
        return self._losses

    def update(self, index: LossIndex, seq: int) -> Steps[None]:
        """Examine all losses newer than `seq`. The result is complete as of the last step.

        Several updates may run at the same time: each loss that one of them finds is valid for all, and an update
        records that the result is complete only at its end.
        """
        yield from self.interest.patterns.compile()
        floor, number = seq, 0
        if self._floor is not None and self._floor <= seq:
            floor, number = self._floor, self._number
        most = STEP
        while True:
            newest, found = index.count, index.since(number, floor)
            if len(found) <= most:
                break
            yield from self._examine_many(found)
            # Next are the losses since. As the step doubles, this ends however fast losses follow each other.
            number = newest
            most *= 2
            yield
        self._examine(sorted(found, key=_LOST, reverse=True), self._all)
        if self._floor is None or floor <= self._floor:
            self._floor, self._number = floor, newest

    @property
    def _all(self) -> int:
        return (1 << len(self._losses)) - 1

    def _examine_many(self, found: list[Channel]) -> Steps[None]:
        runs = []
        for start in range(0, len(found), _SORTED_STEP):
            runs.append(sorted(found[start : start + _SORTED_STEP], key=_LOST, reverse=True))
            yield
        # A channel with a new loss since may be out of order here, but is examined again in the next round.
        ordered = heapq.merge(*runs, key=_LOST, reverse=True)
        unmatched = self._all
        while unmatched and (channels := list(islice(ordered, STEP))):
            unmatched = self._examine(channels, unmatched)
            yield

    def _examine(self, channels: Iterable[Channel], unmatched: int) -> int:
        """Match channels, the newest loss first, with the bit set `unmatched` of patterns; return those left."""
        matching = self.interest.patterns.matching
        for channel in channels:
            if not unmatched:
                break
            matched = matching(channel.name) & unmatched
            unmatched ^= matched
            while matched:
                number = matched.bit_length() - 1
                matched ^= 1 << number
                if channel.lost > self._losses[number].seq:
                    self._losses[number] = NewestLoss(channel.lost, channel.lost_time, channel.lost_reason)
        return unmatched


_LOST = attrgetter("lost")
