"""Reading what may take long, or for ever: a disk that sleeps, a folder on a server that is gone."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


def run_in_thread(reactor: Any, call: Callable[[], T]) -> Deferred[T]:
    """Call in a thread of its own.

    The reactor's pool is not for this: it has ten threads, which the resolver of names needs too, and the process does
    not end before they do. Nobody waits for this thread; a call that never returns costs one thread and no more.

    :raises RuntimeError: no further thread can be had.
    """
    answer: Deferred[T] = Deferred()

    def work() -> None:
        try:
            result = call()
        except Exception:
            reactor.callFromThread(answer.errback, Failure())
        else:
            reactor.callFromThread(answer.callback, result)

    threading.Thread(target=work, name="pushd-aside", daemon=True).start()
    return answer
