"""Token buckets: how much each of many peers may do for some time, and how much at once."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

MAX_BUCKETS: Final = 50_000
"""The most buckets that are kept. A bucket takes about 260 bytes."""
_EXAMINED: Final = 2
"""Buckets that are examined whenever one is added: with two, those that are full again are found in time."""
_ROUNDING: Final = 1e-6
"""Seconds by which sums of times may differ."""


@dataclass(frozen=True, slots=True)
class RateState:
    """A rate that is exceeded, and what remains of its bucket."""

    unit: str
    """What is counted: ``messages`` or ``bytes``."""
    most: int
    """How many there may be in a window."""
    window: int
    """Seconds."""
    remaining: int
    """How many there may be now."""
    reset: int
    """Seconds after which there may be `most` again."""


class TokenBuckets:
    """Token buckets, by key, each of which holds the tokens of the same time, by the generic cell rate algorithm.

    All that is kept of a bucket is when it will be full again, so its rate may change at any time. Buckets that are
    full again are forgotten. Beyond `max_buckets`, others are forgotten too, and are full then.

    :param seconds: how long the tokens of a full bucket last, at its rate.
    """

    def __init__(self, seconds: float, max_buckets: int = MAX_BUCKETS) -> None:
        self.seconds: Final = seconds
        """How long the tokens of a full bucket last."""
        self._max_buckets = max_buckets
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()
        """When each bucket that is not full will be, in the order in which they were added or examined."""

    def __len__(self) -> int:
        """Return the number of buckets that are kept."""
        return len(self._full_at)

    def wait(self, key: Hashable, amount: float, rate: float, now: float) -> float:
        """Return after how many seconds the bucket of a key has enough tokens; 0 if it has.

        An amount larger than a bucket needs a full one, and takes tokens in advance.

        :param rate: tokens a second.
        :param now: monotonic seconds.
        """
        full_in = self._full_at.get(key, now) - now
        missing = min(full_in, max(0.0, full_in) + amount / rate - self.seconds)
        return missing if missing > _ROUNDING else 0.0

    def take(self, key: Hashable, amount: float, rate: float, now: float) -> float:
        """Take tokens from the bucket of a key if it has enough; see `wait`.

        :return: 0 if they were taken, else the seconds after which it has enough.
        """
        full_at, seconds = self._full_at.get(key), amount / rate
        if full_at is None:
            self._make_room(now)
        if full_at is None or full_at <= now:
            full_at = now
        elif full_at - now + seconds - self.seconds > _ROUNDING and (wait := self.wait(key, amount, rate, now)):
            return wait
        self._full_at[key] = full_at + seconds
        return 0.0

    def refund(self, key: Hashable, amount: float, rate: float) -> None:
        """Refund tokens that were taken; those beyond a full bucket are lost."""
        if key in self._full_at:
            self._full_at[key] -= amount / rate

    def delay(self, key: Hashable, seconds: float, now: float) -> None:
        """Drain the bucket of a key, so that it is full after some seconds at the earliest."""
        full_at = self._full_at.get(key)
        if seconds > 0 and (full_at is None or full_at < now + seconds):
            if full_at is None:
                self._make_room(now)
            self._full_at[key] = now + seconds

    def remaining(self, key: Hashable, rate: float, now: float) -> int:
        """Return the number of tokens of the bucket of a key, rounded down."""
        return max(0, int((self.seconds - self.full_in(key, now) + _ROUNDING) * rate))

    def full_in(self, key: Hashable, now: float) -> float:
        """Return after how many seconds the bucket of a key is full."""
        return max(0.0, self._full_at.get(key, now) - now)

    def _make_room(self, now: float) -> None:
        """Forget buckets that are full again, and others when there are too many."""
        for _ in range(min(_EXAMINED, len(self._full_at))):
            key, full_at = self._full_at.popitem(last=False)
            if full_at > now:
                self._full_at[key] = full_at
        if len(self._full_at) >= self._max_buckets:
            self._full_at.popitem(last=False)
