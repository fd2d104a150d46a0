"""Time slices: work of many connections that is spread over reactor turns, first come, first served."""

from collections import deque
from collections.abc import Generator
from typing import TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

SLICE_SECONDS = 0.001
"""The time for such work in one reactor turn: enough for a few reconnecting clients, or a hundred pongs."""

T = TypeVar("T")


class Slices:
    """Resumes waiting coroutines in order, for one time slice per reactor turn."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: deque[Deferred[None]] = deque()

    def next_turn(self) -> Deferred[None]:
        """Return a Deferred that fires in a later reactor turn."""
        if not self._waiting:
            self._clock.callLater(0, self._serve)
        resumed: Deferred[None] = Deferred()
        self._waiting.append(resumed)
        return resumed

    async def run(self, steps: Generator[None, None, T]) -> T:
        """Do work in steps, and return its result: the first step at once, all others in the turns that follow.

        :param steps: each takes a few milliseconds at most.
        """
        try:
            next(steps)
            while True:
                await self.next_turn()
                until = self._clock.seconds() + SLICE_SECONDS
                next(steps)
                while self._clock.seconds() < until:
                    next(steps)
        except StopIteration as end:
            return cast(T, end.value)

    def _serve(self) -> None:
        deadline = self._clock.seconds() + SLICE_SECONDS
        for _ in range(len(self._waiting)):
            # It stays in the queue during its callback, so that `next_turn` does not schedule another call of `_serve`.
            self._waiting[0].callback(None)
            self._waiting.popleft()
            if self._clock.seconds() >= deadline:
                break
        if self._waiting:
            self._clock.callLater(0, self._serve)
