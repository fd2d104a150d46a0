"""Coroutines that seldom wait: begun in the caller's own turn, and handed to Twisted only if they do wait.

`Deferred.fromCoroutine` costs as much as a small publish, even where there is nothing to wait for.
"""

from collections.abc import Callable, Coroutine, Generator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


def begin(coroutine: Coroutine[Any, Any, None], broken: Callable[[Failure], object]) -> None:
    """Run a coroutine; `broken` hears of what it raises."""
    try:
        waits_for = coroutine.send(None)
    except StopIteration:
        return
    except Exception:
        broken(Failure())
        return
    Deferred.fromCoroutine(_go_on(_Begun(coroutine, waits_for))).addErrback(broken)


class _Begun:
    """A coroutine that waits for something already."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        waits_for = self._waits_for
        try:
            while True:
                try:
                    result = yield waits_for
                except BaseException as error:
                    waits_for = self._coroutine.throw(error)
                else:
                    waits_for = self._coroutine.send(result)
        except StopIteration:
            return


async def _go_on(begun: _Begun) -> None:
    await begun
