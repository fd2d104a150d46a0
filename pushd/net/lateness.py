"""How late the reactor is: a timer that is due each second, and the time by which it missed that."""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

_EACH_SECONDS = 1.0


class Lateness:
    """Tells each second how many seconds the reactor was late."""

    def __init__(self, clock: IReactorTime, tell: Callable[[float], None]) -> None:
        self._clock = clock
        self._tell = tell
        self._due = 0.0
        self._call: IDelayedCall | None = None

    def start(self) -> None:
        """Begin to look."""
        self._due = self._clock.seconds() + _EACH_SECONDS
        self._call = self._clock.callLater(_EACH_SECONDS, self._look)

    def stop(self) -> None:
        """Look no more."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _look(self) -> None:
        self._tell(max(0.0, self._clock.seconds() - self._due))
        self.start()
