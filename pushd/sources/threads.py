"""Threads for calls that may block for long or forever: a sleeping disk, a folder of an unreachable file server."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


def run_in_thread(reactor: Any, call: Callable[[], T]) -> Deferred[T]:
    """Call in a new daemon thread; return a Deferred of the result.

    The reactor's thread pool is unsuitable: it has ten threads, which the name resolver needs too, and the process
    waits for them at exit. A call that never returns costs this one thread only.

    :raises RuntimeError: when no thread can be started.
    """
    answer: Deferred[T] = Deferred()

    def work() -> None:
        try:
            result = call()
        except Exception:
            reactor.callFromThread(answer.errback, Failure())
        else:
            reactor.callFromThread(answer.callback, result)

    threading.Thread(target=work, name="pushd-source-call", daemon=True).start()
    return answer
