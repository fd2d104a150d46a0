"""Alarms: many waits, each with an end of its own, by one timer.

The ends are rounded up to an eighth of a second, and those of the same eighth stand together: so a wait costs an entry
in a dictionary, where a timer of its own in the reactor would be half a kilobyte.
"""

import heapq
import math
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

_TURNS = 8
"""In a second."""


class Waiting(Protocol):
    """What waits."""

    due: int
    """Where it stands here; it is not to be touched."""

    def time_is_up(self) -> None:
        """Know that it has waited long enough. It is called once."""


class Alarms:
    """Calls `Waiting.time_is_up`, at the given time or less than an eighth of a second later."""

    log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._count = 0
        """How many wait."""
        self._waiting: dict[int, dict[Waiting, None]] = {}
        """By the turn at which they are due. A turn stays, be it without anybody, until it has come or nobody waits."""
        self._turns: list[int] = []
        """A heap of those turns."""
        self._call: IDelayedCall | None = None
        self._next = 0
        """The turn for which that call is."""

    def set(self, waiting: Waiting, seconds: float) -> None:
        """Let one that does not wait already wait for `seconds`."""
        self._count += 1
        due = waiting.due = math.ceil(_TURNS * (self._clock.seconds() + seconds))
        together = self._waiting.get(due)
        if together is None:
            together = self._waiting[due] = {}
            heapq.heappush(self._turns, due)
        together[waiting] = None
        if self._call is None or due < self._next:
            self._call_at(due)

    def unset(self, waiting: Waiting) -> None:
        """Let one wait no more; nothing happens where it does not, but `due` has to be a number."""
        if self._waiting.get(waiting.due, {}).pop(waiting, waiting) is None:
            self._count -= 1
            if not self._count:
                self._rest()

    def _call_at(self, turn: int) -> None:
        if self._call is not None:
            self._call.cancel()
        self._next = turn
        self._call = self._clock.callLater(max(0.0, turn / _TURNS - self._clock.seconds()), self._ring)

    def _rest(self) -> None:
        self._waiting.clear()
        self._turns.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _ring(self) -> None:
        self._call = None
        now = _TURNS * self._clock.seconds()
        while self._turns and (self._turns[0] <= now or not self._waiting[self._turns[0]]):
            together = self._waiting.pop(heapq.heappop(self._turns))
            self._count -= len(together)
            for waiting in together:
                try:
                    waiting.time_is_up()
                except Exception:
                    self.log.failure("What has waited long enough broke")
        if self._turns and (self._call is None or self._turns[0] < self._next):
            self._call_at(self._turns[0])
