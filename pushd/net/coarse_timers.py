"""Coarse timers: many timeouts that share one timer of the reactor.

Expiry times are rounded up to an eighth of a second, and timeouts of the same eighth are kept together. So a timeout
costs one dictionary entry; a delayed call of the reactor would cost half a kilobyte.
"""

import heapq
import math
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

_STEPS_PER_SECOND = 8


class Expiring(Protocol):
    """An object with a timeout."""

    due: int
    """The step at which the timeout expires. It belongs to the timers, and must not be changed elsewhere."""

    def expire(self) -> None:
        """Called once, when the timeout expires."""


class CoarseTimers:
    """Calls `Expiring.expire` when a timeout expires, less than an eighth of a second late."""

    log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._count = 0
        """The number of running timeouts."""
        self._by_step: dict[int, dict[Expiring, None]] = {}
        """Timeouts by the step at which they expire. An empty step stays until it is reached or no timeout runs."""
        self._steps: list[int] = []
        """A heap of the keys of `_by_step`."""
        self._call: IDelayedCall | None = None
        self._next_step = 0
        """The step for which `_call` is scheduled."""

    def start(self, waiting: Expiring, seconds: float) -> None:
        """Start a timeout. The object must not have one running."""
        self._count += 1
        due = waiting.due = math.ceil(_STEPS_PER_SECOND * (self._clock.seconds() + seconds))
        same_step = self._by_step.get(due)
        if same_step is None:
            same_step = self._by_step[due] = {}
            heapq.heappush(self._steps, due)
        same_step[waiting] = None
        if self._call is None or due < self._next_step:
            self._call_at(due)

    def remaining(self, waiting: Expiring) -> float:
        """Return the seconds until a running timeout expires."""
        return waiting.due / _STEPS_PER_SECOND - self._clock.seconds()

    def cancel(self, waiting: Expiring) -> None:
        """Cancel a timeout. Without a running timeout this has no effect; `due` must be set to any number."""
        if self._by_step.get(waiting.due, {}).pop(waiting, waiting) is None:
            self._count -= 1
            if not self._count:
                self._clear()

    def _call_at(self, step: int) -> None:
        if self._call is not None:
            self._call.cancel()
        self._next_step = step
        self._call = self._clock.callLater(max(0.0, step / _STEPS_PER_SECOND - self._clock.seconds()), self._fire)

    def _clear(self) -> None:
        self._by_step.clear()
        self._steps.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _fire(self) -> None:
        self._call = None
        now = _STEPS_PER_SECOND * self._clock.seconds()
        while self._steps and (self._steps[0] <= now or not self._by_step[self._steps[0]]):
            expired = self._by_step.pop(heapq.heappop(self._steps))
            self._count -= len(expired)
            for waiting in expired:
                try:
                    waiting.expire()
                except Exception:
                    self.log.failure("Timeout callback failed; the other timeouts continue")
        if self._steps and (self._call is None or self._steps[0] < self._next_step):
            self._call_at(self._steps[0])
