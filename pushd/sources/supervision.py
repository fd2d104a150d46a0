"""The life of a source: begun, begun anew where it breaks, ended."""

import random
from collections.abc import Callable
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

_STEADY_SECONDS = 60.0
"""What has run for so long is well: when it breaks again, the first wait is short again."""
_FIRST_SECONDS = 1.0
_LONGEST_SECONDS = 60.0
_JITTER = 0.2


class Runner(Protocol):
    """A kind of source."""

    async def run(self) -> None:
        """Publish until there is no more, or until cancelled; then leave nothing behind."""


class Backoff:
    """How long to wait before the next try: 1 s, doubling up to 60 s, give or take a fifth.

    :param chance: gives a number from 0 to 1.
    """

    def __init__(self, clock: IReactorTime, chance: Callable[[], float] = random.random) -> None:
        self._clock = clock
        self._chance = chance
        self._step = _FIRST_SECONDS
        self._began = clock.seconds()

    def begin(self) -> None:
        """Know that a try begins."""
        self._began = self._clock.seconds()

    def ended(self) -> float:
        """Know that it ended; give the seconds to wait."""
        if self._clock.seconds() - self._began >= _STEADY_SECONDS:
            self._step = _FIRST_SECONDS
        step, self._step = self._step, min(2 * self._step, _LONGEST_SECONDS)
        return step * (1 + _JITTER * (2 * self._chance() - 1))


class Beat:
    """Wakes a coroutine at even intervals. A beat that was missed is left out, not made up for.

    :param interval: seconds.
    """

    def __init__(self, clock: IReactorTime, interval: float) -> None:
        self._clock = clock
        self._interval = interval
        self._due = clock.seconds()

    async def next(self) -> None:
        """Wait for the next beat; the first is an interval after the start."""
        late = max(0.0, self._clock.seconds() - self._due)
        self._due += self._interval * (1 + late // self._interval)
        await deferLater(self._clock, self._due - self._clock.seconds())


class Life(Service):
    """Runs a source. What breaks there is logged with its traceback, tried again later, and reaches nobody else.

    :param source: its name, for the log.
    """

    log = Logger()

    def __init__(self, source: str, runner: Runner, clock: IReactorTime) -> None:
        self._source = source
        self._runner = runner
        self._clock = clock
        self._living: Deferred[None] | None = None

    def startService(self) -> None:
        """Begin."""
        super().startService()
        self._living = Deferred.fromCoroutine(self._live())
        self._living.addErrback(self._died)

    def stopService(self) -> Deferred[Any] | None:
        """End; the Deferred fires once nothing of the source is left."""
        super().stopService()
        living, self._living = self._living, None
        if living is not None:
            living.cancel()
        return living

    async def _live(self) -> None:
        backoff = Backoff(self._clock)
        while True:
            backoff.begin()
            try:
                await self._runner.run()
                return
            except Exception:
                if not self.running:
                    raise
                delay = backoff.ended()
                self.log.failure("{source}: broke, again in {delay:.1f} s", source=self._source, delay=delay)
            await deferLater(self._clock, delay)

    def _died(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            self.log.failure("{source}: broke while it ended", failure, source=self._source)
