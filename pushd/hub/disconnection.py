"""Closing the connections of subscribers: the one place where a refusal, or a bug, ends a connection."""

from collections.abc import Callable

from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.core.errors import InternalError, Refusal
from pushd.core.outlet import Outlet
from pushd.core.subscriber import Subscriber
from pushd.metrics import Counters

_INTERNAL = "internal error; the log of the daemon has the details"


class Disconnector:
    """Closes connections, and counts why.

    :param remove: removes a subscriber whose outlet has failed to do so.
    """

    log = Logger()

    def __init__(self, counters: Counters, remove: Callable[[Subscriber, Refusal], None]) -> None:
        self._counters = counters
        self._remove = remove

    def disconnect(self, subscriber: Subscriber, cause: Exception) -> None:
        """See `Hub.disconnect`."""
        if subscriber.is_closed:
            return
        refusal = cause if isinstance(cause, Refusal) else InternalError(_INTERNAL)
        if cause is not refusal:
            self.log.failure("{peer}: delivery failed, closing the connection", Failure(cause), peer=subscriber.peer)
        self._counters.count_refusal(refusal, subscriber.peer)
        self._counters.disconnects[refusal.code] += 1
        outlet = subscriber.outlet
        try:
            outlet.close(refusal)
        except Exception:
            self.log.failure("{peer}: closing the connection failed, aborting it", Failure(), peer=subscriber.peer)
            if not subscriber.is_closed:
                self._remove(subscriber, refusal)
            self._abort(subscriber, outlet)

    def _abort(self, subscriber: Subscriber, outlet: Outlet) -> None:
        try:
            outlet.abort()
        except Exception:
            self.log.failure("{peer}: aborting the connection failed", Failure(), peer=subscriber.peer)
