"""Log time: the clock by which messages expire. It continues over restarts and is independent of the wall clock.

While the daemon runs, it follows the monotonic clock. Over a restart, it advances by the difference that the wall clock
shows, or not at all if that is negative. So a wall clock that is set back lengthens the life of messages and never
shortens it. The order of messages does not depend on any clock.
"""

from collections.abc import Callable


class LogTime:
    """The clock of a log: seconds since the log began, approximately."""

    def __init__(self, monotonic: Callable[[], float], now: float, downtime: float) -> None:
        """
        :param monotonic: returns monotonic seconds.
        :param now: the log time of the last commit.
        :param downtime: seconds of the wall clock since that commit; perhaps negative.
        """
        self._monotonic = monotonic
        self._offset = now + max(0.0, downtime) - monotonic()

    def now(self) -> float:
        """Return the log time, in seconds."""
        return self._monotonic() + self._offset
