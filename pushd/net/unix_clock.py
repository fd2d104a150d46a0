"""Unix time that never goes back."""

import time
from collections.abc import Callable


class UnixClock:
    """Returns unix seconds, and never less than before, so that a clock that is set back revives no credential.

    :param read: the clock of the machine, in unix seconds.
    """

    def __init__(self, read: Callable[[], float] = time.time) -> None:
        self._read = read
        self._latest = 0.0

    def __call__(self) -> float:
        """Return the time in unix seconds."""
        self._latest = max(self._latest, self._read())
        return self._latest

    @property
    def setback(self) -> float:
        """Seconds by which the clock of the machine lags behind the time that this one has returned."""
        return max(0.0, self._latest - self._read())
