"""The loop delay: how late the reactor calls a timer that is due every second."""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

_INTERVAL_SECONDS = 1.0


class LoopDelay:
    """Reports the loop delay in seconds, once a second.

    :param observe: called with each delay.
    """

    def __init__(self, clock: IReactorTime, observe: Callable[[float], None]) -> None:
        self._clock = clock
        self._observe = observe
        self._due = 0.0
        self._call: IDelayedCall | None = None

    def start(self) -> None:
        """Start to measure."""
        self._due = self._clock.seconds() + _INTERVAL_SECONDS
        self._call = self._clock.callLater(_INTERVAL_SECONDS, self._measure)

    def stop(self) -> None:
        """Stop measuring."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _measure(self) -> None:
        self._observe(max(0.0, self._clock.seconds() - self._due))
        self.start()
