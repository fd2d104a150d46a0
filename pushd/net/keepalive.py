"""Keepalive pings and reply deadlines for many connections, with one timer.

One timer ticks every second and advances the timing wheels. Every connection is in the slot of the second in which its
ping is due. If it was written to in the meantime, it is moved to a later slot instead of being pinged. So a write only
records the current tick, and an idle connection costs one ping per interval.
"""

from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

_OVERDUE_PER_TURN = 100
"""Connections that are closed in one reactor turn because they are overdue: about 20 ms."""
_PINGS_PER_TURN = 500
"""Pings that are sent in one reactor turn: about 5 ms."""


class Pingable(Protocol):
    """A connection that is kept alive."""

    last_write: int
    """The tick of the last write."""

    def ping(self) -> None:
        """Send a ping."""


class Ticks:
    """Counts the seconds since the start. Reading `now` costs less than a clock, and is accurate to one second."""

    def __init__(self, clock: IReactorTime) -> None:
        self.now = 0
        self._clock = clock
        self._callbacks: list[Callable[[int], None]] = []
        self._loop = LoopingCall(self._tick)
        self._loop.clock = clock

    def start(self) -> None:
        """Start to tick."""
        self._loop.start(1.0, now=False)

    def stop(self) -> None:
        """Stop ticking."""
        if self._loop.running:
            self._loop.stop()

    def next_turn(self, call: Callable[[], None]) -> None:
        """Call a function in the next reactor turn."""
        self._clock.callLater(0, call)

    def on_tick(self, call: Callable[[int], None]) -> None:
        """Call a function with the new tick, every second."""
        self._callbacks.append(call)

    def _tick(self) -> None:
        self.now += 1
        for call in self._callbacks:
            call(self.now)


class Wheel:
    """A timing wheel: calls `Pingable.ping` on connections that nothing was written to for `seconds`."""

    log = Logger()

    def __init__(self, ticks: Ticks, seconds: float) -> None:
        self._ticks = ticks
        self._seconds = max(1, round(seconds))
        self._slots: list[dict[Pingable, None]] = [{} for _ in range(self._seconds)]
        ticks.on_tick(self._on_tick)

    @property
    def seconds(self) -> int:
        """The interval."""
        return self._seconds

    def reconfigure(self, seconds: float) -> None:
        """Change the interval. Connections that are idle now are pinged within the new interval."""
        peers = [peer for slot in self._slots for peer in slot]
        self._seconds = max(1, round(seconds))
        self._slots = [{} for _ in range(self._seconds)]
        for peer in peers:
            self._place(peer, peer.last_write)

    @property
    def now(self) -> int:
        """The current tick, for `Pingable.last_write`."""
        return self._ticks.now

    def add(self, peer: Pingable) -> None:
        """Start to keep a connection alive."""
        peer.last_write = self._ticks.now
        self._place(peer, peer.last_write)

    def remove(self, peer: Pingable) -> None:
        """Stop keeping a connection alive. An unknown connection is ignored."""
        for slot in self._slots:
            if slot.pop(peer, peer) is None:
                return

    def _place(self, peer: Pingable, tick: int) -> None:
        self._slots[tick % self._seconds][peer] = None

    def _on_tick(self, tick: int) -> None:
        self._check_slot(list(self._slots[tick % self._seconds]), tick)

    def _check_slot(self, due: list[Pingable], tick: int) -> None:
        """Check a batch of connections, and the rest in later reactor turns.

        After a broadcast very many connections are due in the same second.
        """
        slot = self._slots[tick % self._seconds]
        for peer in due[:_PINGS_PER_TURN]:
            if slot.pop(peer, peer) is None:
                self._check(peer, tick)
        if rest := due[_PINGS_PER_TURN:]:
            self._ticks.next_turn(lambda: self._check_slot(rest, tick))

    def _check(self, peer: Pingable, tick: int) -> None:
        if peer.last_write + self._seconds > tick:
            self._place(peer, peer.last_write)
            return
        peer.last_write = tick
        self._place(peer, tick)
        try:
            peer.ping()
        except Exception:
            self.log.failure("Sending a keepalive ping failed; the connection stays open")


P = TypeVar("P")


class Deadlines(Generic[P]):
    """Calls `overdue` for each peer that does not act within `seconds`, accurate to one second.

    :param is_excused: whether the delay is not the fault of the peer, for instance because its bytes have not been read
        yet. Such a peer is checked again every second.
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
        self._clock = clock
        self._overdue = overdue
        self._is_excused = is_excused
        self._due: dict[P, float] = {}
        self._excused: dict[P, None] = {}
        self._loop = LoopingCall(self._check_all)
        self._loop.clock = clock

    def start(self) -> None:
        """Start to check deadlines, once a second."""
        self._loop.start(1.0, now=False)

    def stop(self) -> None:
        """Stop checking deadlines."""
        if self._loop.running:
            self._loop.stop()

    def reconfigure(self, seconds: float) -> None:
        """Change the time allowed, for deadlines that start from now on."""
        self.seconds = seconds

    @property
    def expected(self) -> Sequence[P]:
        """The peers with a deadline."""
        return (*self._excused, *self._due)

    def expect(self, peer: P) -> None:
        """Start the deadline of a peer. A deadline that is already running stays."""
        if peer not in self._excused:
            self._due.setdefault(peer, self._clock.seconds() + self.seconds)

    def cancel(self, peer: P) -> None:
        """Cancel the deadline of a peer, because it acted or its connection was lost."""
        self._due.pop(peer, None)
        if self._excused:
            self._excused.pop(peer, None)

    def _check_all(self) -> None:
        for peer in tuple(self._excused):
            if peer in self._excused:  # closing one peer may have removed another
                self._check(peer)
        self._check_due()

    def _check_due(self) -> None:
        """Check the peers whose deadline is over: some at once, and the rest in later reactor turns."""
        now = self._clock.seconds()
        due: list[P] = []
        for peer, deadline in self._due.items():
            if deadline > now or len(due) > _OVERDUE_PER_TURN:
                break
            due.append(peer)
        for peer in due[:_OVERDUE_PER_TURN]:
            if self._due.pop(peer, None) is not None:  # closing one peer may have removed another
                self._check(peer)
        if len(due) > _OVERDUE_PER_TURN:
            self._clock.callLater(0, self._check_due)

    def _check(self, peer: P) -> None:
        try:
            if self._is_excused(peer):
                self._excused[peer] = None
            else:
                self._excused.pop(peer, None)
                self._overdue(peer)
        except Exception:
            self.log.failure("Closing an unresponsive connection failed")
