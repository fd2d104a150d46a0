"""A log with at most one line per interval for each kind of event, for events that others can cause at will."""

from collections import Counter
from typing import Any, Final

from twisted.logger import Logger

_INTERVAL_SECONDS: Final = 10.0


class LimitedLog:
    """Logs warnings, and counts those that it leaves out.

    :param clock: its `seconds` must be monotonic.
    """

    def __init__(self, log: Logger, clock: Any) -> None:
        self._log = log
        self._clock = clock
        self._logged_at: dict[str, float] = {}
        self._suppressed: Counter[str] = Counter()

    def warn(self, line: str, **values: object) -> None:
        """Log a line, unless the same one was logged within the interval.

        :param line: the format of the line, the same for all events of a kind.
        """
        now = self._clock.seconds()
        if now - self._logged_at.get(line, -_INTERVAL_SECONDS) < _INTERVAL_SECONDS:
            self._suppressed[line] += 1
            return
        self._logged_at[line] = now
        suppressed = self._suppressed.pop(line, 0)
        note = " ({suppressed} similar events not logged)" if suppressed else ""
        self._log.warn(line + note, suppressed=suppressed, **values)
