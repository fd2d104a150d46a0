"""Refusals because of the state of the daemon or of its backend, and ends of connections."""

from typing import Self

from pushd.core.errors.refusal import Refusal


class Kicked(Refusal):
    """The connection was closed by ``DELETE /connections/ID``."""

    code = "kicked"
    status = 503
    retry_after = 3


class Ended(Refusal):
    """Every channel of the subscription has ended."""

    code = "ended"
    status = 410
    close = 4410


class Stopping(Refusal):
    """The daemon is shutting down."""

    code = "stopping"
    status = 503
    close = 1012
    retry_after = 3


class Overloaded(Refusal):
    """Too many messages wait to be stored by the backend."""

    code = "overloaded"
    status = 503
    close = 1013
    retry_after = 1


class StorageFailed(Refusal):
    """The backend currently cannot store the message or read the history."""

    code = "storage"
    status = 507
    close = 1013
    retry_after = 5


class Unavailable(Refusal):
    """The backend is unreachable or accepts nothing at present."""

    code = "unavailable"
    status = 503
    close = 1013
    retry_after: int | None = 1


class CallbackUnavailable(Unavailable):
    """The application cannot be asked at present whether something is allowed."""

    def __init__(self, text: str, retry_after: int = 1) -> None:
        super().__init__(text)
        self.retry_after = retry_after

    def without_traceback(self) -> Self:
        """Return a copy without the traceback."""
        return type(self)(str(self), self.retry_after or 1)


class OutcomeUnknown(Unavailable):
    """The backend lost its data or restarted before it answered: the message may have been published, or not.

    A client must not repeat it of its own accord: subscribers might receive it twice.
    """

    code = "outcome-unknown"
    retry_after = None


class InternalError(Refusal):
    """An unexpected error occurred; the log has the traceback."""

    code = "internal"
    status = 500
    close = 1011
