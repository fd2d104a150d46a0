"""Supervision of sources: start, restart with backoff after a failure, stop."""

import random
from collections.abc import Callable
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

_STABLE_SECONDS = 60.0
"""Run time after which the backoff is reset."""
_FIRST_DELAY_SECONDS = 1.0
_MAX_DELAY_SECONDS = 60.0
_JITTER_SHARE = 0.2


class SourceRunner(Protocol):
    """The work of a source."""

    async def run(self) -> None:
        """Publish until finished or cancelled; release all resources before returning."""


class Backoff:
    """Exponential backoff between attempts: 1 s, doubled up to 60 s, with a jitter of 20 %.

    :param jitter: returns a random number from 0 to 1.
    """

    def __init__(self, clock: IReactorTime, jitter: Callable[[], float] = random.random) -> None:
        self._clock = clock
        self._jitter = jitter
        self._delay = _FIRST_DELAY_SECONDS
        self._started_at = clock.seconds()

    def attempt_started(self) -> None:
        """Called when an attempt starts."""
        self._started_at = self._clock.seconds()

    def attempt_ended(self) -> float:
        """Called when an attempt has ended; return the seconds to wait before the next one."""
        if self._clock.seconds() - self._started_at >= _STABLE_SECONDS:
            self._delay = _FIRST_DELAY_SECONDS
        delay, self._delay = self._delay, min(2 * self._delay, _MAX_DELAY_SECONDS)
        return delay * (1 + _JITTER_SHARE * (2 * self._jitter() - 1))


class Interval:
    """A fixed interval. Ticks that were missed are skipped, not made up for.

    :param interval: seconds.
    """

    def __init__(self, clock: IReactorTime, interval: float) -> None:
        self._clock = clock
        self._interval = interval
        self._next_at = clock.seconds()

    async def wait(self) -> None:
        """Wait for the next tick; the first is one interval after construction."""
        overdue = max(0.0, self._clock.seconds() - self._next_at)
        self._next_at += self._interval * (1 + overdue // self._interval)
        await deferLater(self._clock, self._next_at - self._clock.seconds())


class SupervisedSource(Service):
    """A service that runs a source. Failures are logged with a traceback and retried; other services are unaffected.

    :param source: name of the source, for the log.
    """

    log = Logger()

    def __init__(self, source: str, runner: SourceRunner, clock: IReactorTime) -> None:
        self._source = source
        self._runner = runner
        self._clock = clock
        self._task: Deferred[None] | None = None

    def startService(self) -> None:
        """Start the source."""
        super().startService()
        self._task = Deferred.fromCoroutine(self._supervise())
        self._task.addErrback(self._log_failure)

    def stopService(self) -> Deferred[Any] | None:
        """Stop the source; the Deferred fires once it has released everything."""
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
                self.log.failure("{source} failed: restarting in {delay:.1f} s", source=self._source, delay=delay)
            await deferLater(self._clock, delay)

    def _log_failure(self, failure: Any) -> None:
        if not failure.check(CancelledError):
            self.log.failure("{source} failed while stopping", failure, source=self._source)
