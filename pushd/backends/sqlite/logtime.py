"""Log time, by which messages expire: it continues over restarts and cannot be set.

While the daemon runs it follows the monotonic clock. While it did not run, all there is to go by is the wall clock: so
much time has passed as that says, and none where it says less than none. A clock that is set back thus makes messages
live longer, never shorter; and order never asks the time at all.
"""

from collections.abc import Callable


class LogTime:
    """Approximate seconds since the log was created."""

    def __init__(self, monotonic: Callable[[], float], now: float, asleep: float) -> None:
        """
        :param now: what it was at the last commit.
        :param asleep: what has passed since by the wall clock, in seconds.
        """
        self._monotonic = monotonic
        self._ahead = now + max(0.0, asleep) - monotonic()

    def now(self) -> float:
        """Return the log time, in seconds."""
        return self._monotonic() + self._ahead
