"""Unix time that never goes back."""

import time


class UnixClock:
    """Returns unix seconds, and never less than before, so that a clock that is set back revives no credential."""

    def __init__(self) -> None:
        self._latest = 0.0

    def __call__(self) -> float:
        """Return the time in unix seconds."""
        self._latest = max(self._latest, time.time())
        return self._latest
