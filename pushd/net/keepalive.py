"""Signs of life for many connections by one timer.

A wheel turns once a second. Every connection stands in the slot of the second in which it is due; when its time
comes and it was written to meanwhile, it is only put into a later slot. So a write costs the note of the hour,
and silence one ping an interval.
"""

from collections.abc import Iterable
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger


class Pingable(Protocol):
    """A connection that has to be kept alive."""

    spoke: int
    """The hour of the wheel at which it was last written to."""

    def ping(self) -> None:
        """Send a sign of life."""


class Wheel:
    """Calls `Pingable.ping` on those that were silent for `seconds`, to the second."""

    log = Logger()

    def __init__(self, clock: IReactorTime, seconds: float) -> None:
        self.hour = 0
        """Seconds that the wheel has turned; for `Pingable.spoke`."""
        self._seconds = max(1, round(seconds))
        self._slots: list[dict[Pingable, None]] = [{} for _ in range(self._seconds)]
        self._slot_of: dict[Pingable, int] = {}
        self._turning = LoopingCall(self._turn)
        self._turning.clock = clock

    def start(self) -> None:
        """Begin to turn."""
        self._turning.start(1.0, now=False)

    def stop(self) -> None:
        """Stand still."""
        if self._turning.running:
            self._turning.stop()

    def add(self, peer: Pingable) -> None:
        """Keep a connection alive from now on."""
        peer.spoke = self.hour
        self._place(peer, self.hour)

    def remove(self, peer: Pingable) -> None:
        """Let a connection go; nothing happens if it was not there."""
        slot = self._slot_of.pop(peer, None)
        if slot is not None:
            self._slots[slot].pop(peer, None)

    def _place(self, peer: Pingable, hour: int) -> None:
        slot = hour % self._seconds
        self._slots[slot][peer] = None
        self._slot_of[peer] = slot

    def _turn(self) -> None:
        self.hour += 1
        slot = self.hour % self._seconds
        due, self._slots[slot] = self._slots[slot], {}
        self._ping(due)

    def _ping(self, due: Iterable[Pingable]) -> None:
        for peer in due:
            if peer not in self._slot_of:
                continue
            if peer.spoke + self._seconds <= self.hour:
                peer.spoke = self.hour
                self._place(peer, self.hour)
                try:
                    peer.ping()
                except Exception:
                    self.log.failure("A sign of life could not be sent")
            else:
                self._place(peer, peer.spoke)


class Mortal(Protocol):
    """A connection that has to answer."""

    def overdue(self) -> None:
        """Know that no answer came in time."""


class Deadlines:
    """Calls `Mortal.overdue` on those that were asked and not heard of for `seconds`, to the second."""

    log = Logger()

    def __init__(self, clock: IReactorTime, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._asked: dict[Mortal, float] = {}
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock

    def start(self) -> None:
        """Begin to look."""
        self._looking.start(1.0, now=False)

    def stop(self) -> None:
        """Look no more."""
        if self._looking.running:
            self._looking.stop()

    def expect(self, peer: Mortal) -> None:
        """Know that a connection was asked; one that was asked before still has its first deadline."""
        self._asked.setdefault(peer, self._clock.seconds() + self._seconds)

    def heard(self, peer: Mortal) -> None:
        """Know that a connection answered, or is gone."""
        self._asked.pop(peer, None)

    def _look(self) -> None:
        now = self._clock.seconds()
        while self._asked:
            peer = next(iter(self._asked))
            if self._asked[peer] > now:
                return
            del self._asked[peer]
            try:
                peer.overdue()
            except Exception:
                self.log.failure("A connection that did not answer could not be closed")
