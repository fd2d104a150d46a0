"""Slices: work of many that is done a little in each turn of the reactor, in the order in which they asked."""

from collections import deque
from collections.abc import Generator
from typing import TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

SLICE_SECONDS = 0.001
"""In each turn of the reactor: a few clients that come back, or a hundred pongs."""

T = TypeVar("T")


class Slices:
    """Lets those go on who wait for their turn: a slice of them in each of the reactor's."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: deque[Deferred[None]] = deque()

    def turn(self) -> Deferred[None]:
        """Wait for a turn; it is never the one that is under way."""
        if not self._waiting:
            self._clock.callLater(0, self._serve)
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    async def run(self, steps: Generator[None, None, T]) -> T:
        """Do work in steps, and return its result: the first step at once, all others in the turns that follow.

        :param steps: each takes a few milliseconds at most.
        """
        try:
            next(steps)
            while True:
                await self.turn()
                until = self._clock.seconds() + SLICE_SECONDS
                next(steps)
                while self._clock.seconds() < until:
                    next(steps)
        except StopIteration as end:
            return cast(T, end.value)

    def _serve(self) -> None:
        until = self._clock.seconds() + SLICE_SECONDS
        for _ in range(len(self._waiting)):
            # It is still in the queue while it goes on, so that whoever waits then sees that a turn is on its way.
            self._waiting[0].callback(None)
            self._waiting.popleft()
            if self._clock.seconds() >= until:
                break
        if self._waiting:
            self._clock.callLater(0, self._serve)
