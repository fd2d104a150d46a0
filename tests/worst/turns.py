"""Measures the CPU time of each reactor turn: the time during which no other connection is served."""

import time
from types import TracebackType
from typing import Any

MAX_TURN_SECONDS = 0.05
"""The maximum CPU time of a turn in seconds, for any input."""


class ReactorTurns:
    """Records the CPU time of every reactor turn while the context is open.

    A turn begins with the delayed calls that are due, and ends when the ready sockets have been served. Only the thread
    of the reactor counts, so clients belong in other threads or processes.
    """

    def __init__(self) -> None:
        from twisted.internet import reactor

        self._reactor: Any = reactor
        self._began: float | None = None
        self.seconds: list[float] = []
        """CPU seconds of each turn, in order."""

    def __enter__(self) -> "ReactorTurns":
        run = self._reactor.runUntilCurrent

        def measured() -> None:
            now = time.thread_time()
            if self._began is not None:
                self.seconds.append(now - self._began)
            self._began = now
            run()

        self._reactor.runUntilCurrent = measured
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        del self._reactor.runUntilCurrent

    @property
    def count(self) -> int:
        """The number of turns so far."""
        return len(self.seconds)

    @property
    def longest(self) -> float:
        """The CPU seconds of the longest turn."""
        assert self.seconds, "the reactor did not turn"
        return max(self.seconds)
