"""Signs of life for many connections by one timer.

The hours strike once a second, and turn the wheels. Every connection stands in the slot of the second in which it is
due; when its time comes and it was written to meanwhile, it is only put into a later slot. So a write costs the note of
the hour, and silence one ping an interval.
"""

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

_SLICE = 500
"""Pings before the reactor has its turn: about 5 ms."""


class Pingable(Protocol):
    """A connection that has to be kept alive."""

    spoke: int
    """The hour of the wheel at which it was last written to."""

    def ping(self) -> None:
        """Send a sign of life."""


class Hours:
    """Counts the seconds since the start: cheaper to ask than a clock, and right to the second."""

    def __init__(self, clock: IReactorTime) -> None:
        self.now = 0
        self._clock = clock
        self._told: list[Callable[[int], None]] = []
        self._striking = LoopingCall(self._strike)
        self._striking.clock = clock

    def start(self) -> None:
        """Begin to count."""
        self._striking.start(1.0, now=False)

    def stop(self) -> None:
        """Count no more."""
        if self._striking.running:
            self._striking.stop()

    def soon(self, call: Callable[[], None]) -> None:
        """Call in the next turn of the reactor."""
        self._clock.callLater(0, call)

    def tell(self, call: Callable[[int], None]) -> None:
        """Call with the new number, each second."""
        self._told.append(call)

    def _strike(self) -> None:
        self.now += 1
        for call in self._told:
            call(self.now)


class Wheel:
    """Calls `Pingable.ping` on those that were silent for `seconds`, to the second."""

    log = Logger()

    def __init__(self, hours: Hours, seconds: float) -> None:
        self._hours = hours
        self._seconds = max(1, round(seconds))
        self._slots: list[dict[Pingable, None]] = [{} for _ in range(self._seconds)]
        hours.tell(self._turn)

    def turn_in(self, seconds: float) -> None:
        """Take another time for silence; who is silent now has a ping within that time."""
        peers = [peer for slot in self._slots for peer in slot]
        self._seconds = max(1, round(seconds))
        self._slots = [{} for _ in range(self._seconds)]
        for peer in peers:
            self._place(peer, peer.spoke)

    @property
    def now(self) -> int:
        """The hour, for `Pingable.spoke`."""
        return self._hours.now

    def add(self, peer: Pingable) -> None:
        """Keep a connection alive from now on."""
        peer.spoke = self._hours.now
        self._place(peer, peer.spoke)

    def remove(self, peer: Pingable) -> None:
        """Let a connection go; nothing happens if it was not there."""
        for slot in self._slots:
            if slot.pop(peer, peer) is None:
                return

    def _place(self, peer: Pingable, hour: int) -> None:
        self._slots[hour % self._seconds][peer] = None

    def _turn(self, hour: int) -> None:
        self._look_at(list(self._slots[hour % self._seconds]), hour)

    def _look_at(self, due: list[Pingable], hour: int) -> None:
        """Look after some, and leave the rest for the next turn of the reactor: a crowd that was written to at once is
        silent at once.
        """
        slot = self._slots[hour % self._seconds]
        for peer in due[:_SLICE]:
            if slot.pop(peer, peer) is None:
                self._look_after(peer, hour)
        if rest := due[_SLICE:]:
            self._hours.soon(lambda: self._look_at(rest, hour))

    def _look_after(self, peer: Pingable, hour: int) -> None:
        if peer.spoke + self._seconds > hour:
            self._place(peer, peer.spoke)
            return
        peer.spoke = hour
        self._place(peer, hour)
        try:
            peer.ping()
        except Exception:
            self.log.failure("A sign of life could not be sent")


P = TypeVar("P")


class Deadlines(Generic[P]):
    """Calls `overdue` for those of whom something is expected and nothing was heard for `seconds`, to the second.

    :param is_excused: whether the delay is not that of one who is due, as where it has sent what was not read yet. It
        is looked at again a second later, and a second after that.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        seconds: float,
        overdue: Callable[[P], None],
        is_excused: Callable[[P], bool] = lambda peer: False,
    ) -> None:
        self.seconds = seconds
        """Another number holds for what is expected from then on."""
        self._clock = clock
        self._overdue = overdue
        self._is_excused = is_excused
        self._asked: dict[P, float] = {}
        self._excused: dict[P, None] = {}
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock

    def start(self) -> None:
        """Begin to look."""
        self._looking.start(1.0, now=False)

    def stop(self) -> None:
        """Look no more."""
        if self._looking.running:
            self._looking.stop()

    @property
    def expected(self) -> Sequence[P]:
        """Those who have to act."""
        return (*self._excused, *self._asked)

    def expect(self, peer: P) -> None:
        """Know that a connection has to act; one of which that is expected already has its first deadline still."""
        if peer not in self._excused:
            self._asked.setdefault(peer, self._clock.seconds() + self.seconds)

    def heard(self, peer: P) -> None:
        """Know that a connection did so, or is gone."""
        self._asked.pop(peer, None)
        if self._excused:
            self._excused.pop(peer, None)

    def _look(self) -> None:
        now = self._clock.seconds()
        for peer in tuple(self._excused):
            if peer in self._excused:  # what becomes of one may be the end of another
                self._judge(peer)
        while self._asked:
            peer = next(iter(self._asked))
            if self._asked[peer] > now:
                return
            del self._asked[peer]
            self._judge(peer)

    def _judge(self, peer: P) -> None:
        try:
            if self._is_excused(peer):
                self._excused[peer] = None
            else:
                self._excused.pop(peer, None)
                self._overdue(peer)
        except Exception:
            self.log.failure("A connection that did not answer could not be closed")
