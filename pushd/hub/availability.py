"""Whether publishes are accepted, and why not."""

from typing import Final

from twisted.logger import Logger

_NOT_STARTED: Final = "the backend has not started yet"
STOPPING: Final = "the daemon is stopping"


class Availability:
    """The state of the backend, as the hub reports it."""

    log = Logger()

    def __init__(self) -> None:
        self.reason: str | None = _NOT_STARTED
        """Why publishes are refused now, as a phrase; None when they are accepted."""

    def on_started(self) -> None:
        """Called when the backend has started, and has perhaps reported its health."""
        if self.reason == _NOT_STARTED:
            self.reason = None

    def on_health(self, reason: str | None) -> None:
        """Called when the backend has become available (None) or unavailable, with a phrase that says why."""
        if reason != self.reason:
            before, self.reason = self.reason, reason
            if reason is None:
                self.log.info("Backend accepts publishes")
            elif before != _NOT_STARTED:
                self.log.error("Backend does not accept publishes: {reason}", reason=reason)

    def stop(self) -> None:
        """Refuse publishes from now on, because the daemon is stopping."""
        self.reason = STOPPING
