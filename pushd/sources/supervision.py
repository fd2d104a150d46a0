"""The life of a source: begun, begun anew where it breaks, ended."""

import random
from collections.abc import Callable
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

_STABLE_SECONDS = 60.0
"""What has run for so long is well: when it breaks again, the first wait is short again."""
_FIRST_DELAY_SECONDS = 1.0
_MAX_DELAY_SECONDS = 60.0
_JITTER_SHARE = 0.2


class SourceRunner(Protocol):
    """A kind of source."""

    async def run(self) -> None:
        """Publish until there is no more, or until cancelled; then leave nothing behind."""


class Backoff:
    """How long to wait before the next try: 1 s, doubling up to 60 s, give or take a fifth.

    :param chance: gives a number from 0 to 1.
    """

    def __init__(self, clock: IReactorTime, jitter: Callable[[], float] = random.random) -> None:
        self._clock = clock
        self._jitter = jitter
        self._delay = _FIRST_DELAY_SECONDS
        self._started_at = clock.seconds()

    def attempt_started(self) -> None:
        """Know that a try begins."""
        self._started_at = self._clock.seconds()

    def attempt_ended(self) -> float:
        """Know that it ended; give the seconds to wait."""
        if self._clock.seconds() - self._started_at >= _STABLE_SECONDS:
            self._delay = _FIRST_DELAY_SECONDS
        delay, self._delay = self._delay, min(2 * self._delay, _MAX_DELAY_SECONDS)
        return delay * (1 + _JITTER_SHARE * (2 * self._jitter() - 1))


class Interval:
    """Wakes a coroutine at even intervals. A beat that was missed is left out, not made up for.

    :param interval: seconds.
    """

    def __init__(self, clock: IReactorTime, interval: float) -> None:
        self._clock = clock
        self._interval = interval
        self._next_at = clock.seconds()

    async def wait(self) -> None:
        """Wait for the next beat; the first is an interval after the start."""
        overdue = max(0.0, self._clock.seconds() - self._next_at)
        self._next_at += self._interval * (1 + overdue // self._interval)
        await deferLater(self._clock, self._next_at - self._clock.seconds())


class SupervisedSource(Service):
    """Runs a source. What breaks there is logged with its traceback, tried again later, and reaches nobody else.

    :param source: its name, for the log.
    """

    log = Logger()

    def __init__(self, source: str, runner: SourceRunner, clock: IReactorTime) -> None:
        self._source = source
        self._runner = runner
        self._clock = clock
        self._task: Deferred[None] | None = None

    def startService(self) -> None:
        """Begin."""
        super().startService()
        self._task = Deferred.fromCoroutine(self._supervise())
        self._task.addErrback(self._log_failure)

    def stopService(self) -> Deferred[Any] | None:
        """End; the Deferred fires once nothing of the source is left."""
        super().stopService()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        return task

    async def _supervise(self) -> None:
        backoff = Backoff(self._clock)
        while True:
            backoff.attempt_started()
            try:
                await self._runner.run()
                return
            except Exception:
                if not self.running:
                    raise
                delay = backoff.attempt_ended()
                self.log.failure("{source}: broke, again in {delay:.1f} s", source=self._source, delay=delay)
            await deferLater(self._clock, delay)

    def _log_failure(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            self.log.failure("{source}: broke while it ended", failure, source=self._source)
