"""Eager tasks: coroutines that run synchronously up to their first `await` that waits.

Only then is a Deferred created. `Deferred.fromCoroutine` costs as much as a small publish, even for a coroutine that
never waits.
"""

from collections.abc import Callable, Coroutine, Generator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


def run_eagerly(coroutine: Coroutine[Any, Any, None], on_error: Callable[[Failure], object]) -> None:
    """Run a coroutine eagerly.

    :param on_error: called with the failure when the coroutine raises an exception.
    """
    try:
        awaited = coroutine.send(None)
    except StopIteration:
        return
    except Exception:
        on_error(Failure())
        return
    Deferred.fromCoroutine(_resume(_EagerTask(coroutine, awaited))).addErrback(on_error)


class _EagerTask:
    """A coroutine that has started and awaits something."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], awaited: Any) -> None:
        self._coroutine = coroutine
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, None]:
        awaited = self._awaited
        try:
            while True:
                try:
                    result = yield awaited
                except BaseException as error:
                    awaited = self._coroutine.throw(error)
                else:
                    awaited = self._coroutine.send(result)
        except StopIteration:
            return


async def _resume(task: _EagerTask) -> None:
    await task
