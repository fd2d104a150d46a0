"""A circuit breaker: after several failures in a row, no requests for a while, then one probe."""

from enum import Enum, auto
from math import ceil
from typing import Final

FAILURES: Final = 5
"""How many failures in a row open the circuit."""
PAUSE_SECONDS: Final = 5.0
"""How long no request is sent once it is open, and between two probes."""


class _State(Enum):
    CLOSED = auto()
    """Requests are sent."""
    OPEN = auto()
    """None is sent before the end of the pause."""
    PROBING = auto()
    """One was sent; its result decides."""


class CircuitBreaker:
    """Decides whether requests are sent to a server that may fail. Times are seconds of one monotonic clock."""

    def __init__(self, failures: int = FAILURES, pause: float = PAUSE_SECONDS) -> None:
        self._most = failures
        self._pause = pause
        self._state = _State.CLOSED
        self._failures = 0
        """Failures since the last success."""
        self._until = 0.0
        """The end of the pause."""

    @property
    def is_closed(self) -> bool:
        """Whether all requests are sent."""
        return self._state is _State.CLOSED

    def admit(self, now: float) -> bool:
        """Return whether a request may be sent. If so, its result must be reported by `succeeded` or `failed`."""
        if self._state is _State.OPEN and now >= self._until:
            self._state = _State.PROBING
            return True
        return self._state is _State.CLOSED

    def retry_after(self, now: float) -> int:
        """Return the whole seconds, at least one, after which it makes sense to try again."""
        return max(1, ceil(self._until - now)) if self._state is _State.OPEN else 1

    def succeeded(self) -> None:
        """Called when a request has succeeded."""
        self._state, self._failures = _State.CLOSED, 0

    def failed(self, now: float) -> bool:
        """Called when a request has failed; return whether that has opened a closed circuit."""
        self._failures += 1
        was_closed = self._state is _State.CLOSED
        if self._state is _State.OPEN or (was_closed and self._failures < self._most):
            return False
        self._state, self._until = _State.OPEN, now + self._pause
        return was_closed
