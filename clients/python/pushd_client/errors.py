"""What a client raises. Every exception is a `PushdError`."""


class PushdError(Exception):
    """The base of all exceptions of this package."""


class ClientClosed(PushdError):
    """The client was closed, or is closed by another thread."""


class ConnectionFailed(PushdError):
    """The daemon did not answer: it cannot be reached, the connection was lost, or the time was over.

    What a write asked for may have been done, unless `is_sent` is false.
    """

    def __init__(self, message: str, *, is_sent: bool = True) -> None:
        super().__init__(message)
        self.is_sent = is_sent
        """Whether the daemon may have received the request."""


class Refused(PushdError):
    """The daemon refused a request."""

    def __init__(self, code: str, message: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        """The code, such as ``bad-channel``: see "Refusals" in docs/protocol.md. ``http-STATUS`` if an intermediary
        answered that does not send one."""
        self.message = message
        """The sentence that explains it."""
        self.status = status
        """The HTTP status; None where the refusal came in band."""
        self.retry_after = retry_after
        """The seconds after which to retry; None if the daemon did not say it."""


class AuthenticationFailed(Refused):
    """The token is missing, invalid, expired or revoked (401, or close code 4401)."""


class NotPermitted(Refused):
    """The token does not allow the action on the topic (403, or close code 4403)."""


class TemporarilyRefused(Refused):
    """The same request may succeed later (429, 5xx); the client has retried it for as long as it may."""


class NoResponders(Refused):
    """Nobody subscribes to the channel of a request who could answer it (``no-responders``)."""


class NoReply(Refused):
    """Nobody answered a request in time, or everybody who could has disconnected (``no-reply``)."""
