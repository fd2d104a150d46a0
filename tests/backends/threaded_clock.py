"""A reactor for blocking tests of threads: their calls run while the test waits."""

import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

T = TypeVar("T")
_SECONDS = 30


class ThreadedClock(Clock):
    """A clock that only the test advances, and a queue of the calls from threads."""

    def __init__(self) -> None:
        super().__init__()
        self.rightNow = 1000.0
        self.wall_offset = 0.0
        """Seconds by which the wall clock was set forward."""
        self._calls: SimpleQueue[tuple[Callable[..., Any], Any, Any]] = SimpleQueue()

    def wall(self) -> float:
        """Return the time in unix seconds."""
        return self.seconds() + self.wall_offset

    def callFromThread(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """See `IReactorFromThreads`."""
        self._calls.put((call, args, kwargs))

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run calls from threads until a coroutine is done; return its result."""
        results: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(results.append)
        self.until(lambda: results)
        if isinstance(results[0], Failure):
            results[0].raiseException()
        result: T = results[0]
        return result

    def until(self, condition: Callable[[], object]) -> None:
        """Run calls from threads until a condition holds."""
        deadline = time.monotonic() + _SECONDS
        while not condition():
            assert time.monotonic() < deadline
            with suppress(Empty):
                call, args, kwargs = self._calls.get(timeout=0.05)
                call(*args, **kwargs)
