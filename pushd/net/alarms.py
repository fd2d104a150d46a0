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
        self._waiting: dict[int, dict[Waiting, None]] = {}
        """By the turn at which they are due; no turn is empty."""
        self._turns: list[int] = []
        """A heap of those turns, and of some where nobody waits any more."""
        self._call: IDelayedCall | None = None
        self._next = 0
        """The turn for which that call is."""

    def set(self, waiting: Waiting, seconds: float) -> None:
        """Let one wait for `seconds`."""
        due = waiting.due = math.ceil(_TURNS * (self._clock.seconds() + seconds))
        others = self._waiting.get(due)
        if others is not None:
            others[waiting] = None
            return
        self._waiting[due] = {waiting: None}
        heapq.heappush(self._turns, due)
        if self._call is None or due < self._next:
            self._call_at(due)

    def unset(self, waiting: Waiting) -> None:
        """Let one wait no more; nothing happens where it does not, but `due` has to be a number."""
        together = self._waiting.get(waiting.due, {})
        if together.pop(waiting, waiting) is None and not together:
            del self._waiting[waiting.due]
            if not self._waiting:
                self._rest()

    def _call_at(self, turn: int) -> None:
        if self._call is not None:
            self._call.cancel()
        self._next = turn
        self._call = self._clock.callLater(max(0.0, turn / _TURNS - self._clock.seconds()), self._ring)

    def _rest(self) -> None:
        self._turns.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _ring(self) -> None:
        self._call = None
        now = self._clock.seconds()
        while self._turns and self._turns[0] <= _TURNS * now:
            for waiting in self._waiting.pop(heapq.heappop(self._turns), ()):
                try:
                    waiting.time_is_up()
                except Exception:
                    self.log.failure("What has waited long enough broke")
        while self._turns and self._turns[0] not in self._waiting:
            heapq.heappop(self._turns)
        if self._turns and self._call is None:
            self._call_at(self._turns[0])
