"""Scheduling: the reactor turns in which the dispatcher sends."""

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from pushd.core.dispatcher import Dispatcher
from pushd.core.subscriber import Subscriber
from pushd.metrics import Counters

_SLICE = 500
"""Number of subscribers served in one reactor turn: about 5 ms."""


class FanOutScheduler:
    """Runs the dispatcher once per reactor turn while it has something to send.

    :param on_failure: called with a subscriber to which a delivery failed, and the cause.
    :param on_sent: called after each slice.
    """

    log = Logger()

    def __init__(
        self,
        dispatcher: Dispatcher,
        clock: IReactorTime,
        counters: Counters,
        on_failure: Callable[[Subscriber, Exception], None],
        on_sent: Callable[[], None],
    ) -> None:
        self._dispatcher = dispatcher
        self._clock = clock
        self._counters = counters
        self._on_failure = on_failure
        self._on_sent = on_sent
        self._is_scheduled = False

    def schedule(self) -> None:
        """Run the dispatcher in the next reactor turn, if it has something to send."""
        if not (self._is_scheduled or self._dispatcher.is_idle):
            self._is_scheduled = True
            self._clock.callLater(0, self._run)

    def flush(self) -> None:
        """Send everything that was accepted so far at once, so that it precedes what follows."""
        while not self._dispatcher.is_idle:
            self._run_slice()

    def _run(self) -> None:
        self._is_scheduled = False
        self._run_slice()
        self._counters.latency.observe(self._dispatcher.latency)
        self.schedule()

    def _run_slice(self) -> None:
        for subscriber, cause in self._dispatcher.run(_SLICE):
            self._on_failure(subscriber, cause)
        self._on_sent()
        for subscriber in self._dispatcher.take_lagging():
            self._counters.lagging[subscriber.policy.value] += 1
            self.log.warn(
                "{peer}: slow consumer, messages are dropped (policy {policy}); {bytes} bytes are queued",
                peer=subscriber.peer,
                policy=subscriber.policy.value,
                bytes=subscriber.queued_bytes,
            )
