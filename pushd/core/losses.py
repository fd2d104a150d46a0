"""What channels lost: which of them lost messages since when, and the newest loss of each of many patterns.

Channels are ordered by the moment of their newest loss. A loss that happened while the newest sequence was N is of a
sequence up to N, so whoever asks for losses newer than a sequence looks only at channels that lost something since that
sequence was given out; and whoever asked before looks only at what was lost since.
"""

import heapq
from collections.abc import Generator, Iterable, Sequence
from itertools import islice
from operator import attrgetter
from typing import Final, NamedTuple, TypeVar

from pushd.core.history import Channel
from pushd.core.names import Interest

STEP: Final = 512
"""Channels, or messages, that are looked at in one step: at most a few milliseconds."""
_SORTED_STEP: Final = 4096
"""Channels that are sorted in one step: about a millisecond."""

T = TypeVar("T")
Steps = Generator[None, None, T]
"""Work in steps, each of a bounded size. The log may change between two of them."""


class Loss(NamedTuple):
    """The newest message of a topic that was let go."""

    seq: int
    """0: none."""
    time: float
    """When it was published, in unix seconds."""
    reason: str


NO_LOSS: Final = Loss(0, 0.0, "")


class Losses:
    """The channels that lost messages, whether they still have any or not."""

    def __init__(self) -> None:
        self._channels: dict[str, Channel] = {}
        """In the order of their newest losses."""
        self.count = 0
        """How many losses there were."""

    def add(self, channel: Channel, head: int) -> None:
        """Add a loss of a channel; `head` is the newest sequence of the log."""
        self.count = channel.lost_number = self.count + 1
        channel.lost_at = head
        channels, name = self._channels, channel.name
        channels.pop(name, None)
        channels[name] = channel

    def replace(self, channel: Channel) -> None:
        """Put `channel` in the place of the one of the same name, whose newest loss it has taken over."""
        self._channels[channel.name] = channel

    def remove(self, name: str) -> None:
        """Forget what a channel lost, if anything."""
        self._channels.pop(name, None)

    def since(self, number: int, seq: int) -> list[Channel]:
        """Return the channels that had a loss after loss `number`, without those that lost nothing newer than `seq`."""
        found = []
        for channel in reversed(self._channels.values()):
            if channel.lost_number <= number or channel.lost_at <= seq:
                break
            if channel.lost > seq:
                found.append(channel)
        return found


class Query:
    """Topics that are asked for, at least one of them a pattern, and the newest loss of each pattern so far."""

    def __init__(self, topics: Sequence[str]) -> None:
        self.interest = Interest(topics)
        self._losses = [NO_LOSS] * len(self.interest.patterns)
        self._floor: int | None = None
        self._number = 0
        """All losses up to this one are known, of those newer than `_floor`."""

    @property
    def losses(self) -> Sequence[Loss]:
        """The newest loss of each pattern, in the order of the patterns."""
        return self._losses

    def catch_up(self, losses: Losses, seq: int) -> Steps[None]:
        """Take in all losses newer than `seq`. They are complete at the moment of the last step.

        Several may do so at the same time: what one has seen is true for all, and is said to be complete at its end.
        """
        yield from self.interest.patterns.compile()
        floor, number = seq, 0
        if self._floor is not None and self._floor <= seq:
            floor, number = self._floor, self._number
        most = STEP
        while True:
            newest, found = losses.count, losses.since(number, floor)
            if len(found) <= most:
                break
            yield from self._see_many(found)
            # What was lost meanwhile is next. That takes fewer rounds each time, however fast losses follow each other.
            number = newest
            most *= 2
            yield
        self._see(sorted(found, key=_LOST, reverse=True), self._all)
        if self._floor is None or floor <= self._floor:
            self._floor, self._number = floor, newest

    @property
    def _all(self) -> int:
        return (1 << len(self._losses)) - 1

    def _see_many(self, found: list[Channel]) -> Steps[None]:
        runs = []
        for start in range(0, len(found), _SORTED_STEP):
            runs.append(sorted(found[start : start + _SORTED_STEP], key=_LOST, reverse=True))
            yield
        # One that loses more meanwhile comes in the wrong place, but it is seen again.
        ordered = heapq.merge(*runs, key=_LOST, reverse=True)
        unseen = self._all
        while unseen and (part := list(islice(ordered, STEP))):
            unseen = self._see(part, unseen)
            yield

    def _see(self, channels: Iterable[Channel], unseen: int) -> int:
        """Take in channels, that with the newest loss first; return which patterns no channel has matched."""
        matching = self.interest.patterns.matching
        for channel in channels:
            if not unseen:
                break
            matched = matching(channel.name) & unseen
            unseen ^= matched
            while matched:
                number = matched.bit_length() - 1
                matched ^= 1 << number
                if channel.lost > self._losses[number].seq:
                    self._losses[number] = Loss(channel.lost, channel.lost_time, channel.lost_reason)
        return unseen


_LOST = attrgetter("lost")
