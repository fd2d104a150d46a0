"""Refusals: one exception class for each reason to refuse a request or to close a connection.

A refusal has an error code (``code``), an HTTP status, a WebSocket close code (RFC 6455, section 7.4; those from 4000
on are private) and, where a retry makes sense, the seconds to wait. Each protocol renders refusals in one place. Any
other exception is a bug.
"""

from typing import ClassVar, Self

from pushd.core.token_bucket import RateState


class Refusal(Exception):
    """A request or connection is refused. ``str(refusal)`` is the text sent to the peer."""

    code: ClassVar[str] = "refused"
    status: ClassVar[int] = 400
    close: ClassVar[int] = 1008
    retry_after: int | None = None
    """Seconds after which a retry makes sense; None: never."""
    is_limit: ClassVar[bool] = False
    """Whether a limit was exceeded, so that the log names the peer."""
    is_abrupt: ClassVar[bool] = False
    """Whether a connection that it closes discards its queued output."""
    challenge: ClassVar[str | None] = None
    """The value of ``WWW-Authenticate`` in HTTP responses (RFC 6750, section 3); None: no such header."""

    def without_traceback(self) -> Self:
        """Return a copy without the traceback, whose frames a raised exception keeps alive."""
        return type(self)(*self.args)


class BadChannel(Refusal):
    """The name is not a channel name."""

    code = "bad-channel"


class BadTopic(Refusal):
    """The name is neither a channel name nor a pattern."""

    code = "bad-topic"


class TooManyTopics(Refusal):
    """One subscription has more topics than ``limits.topics``."""

    code = "too-many-topics"


class BadSince(Refusal):
    """The cursor is not an id, ``all``, ``last:N``, a duration or unix seconds."""

    code = "bad-since"


class BadSlow(Refusal):
    """The slow-consumer policy is unknown."""

    code = "bad-slow"


class BadEvent(Refusal):
    """The event type is too long or contains a control character."""

    code = "bad-event"


class BadContentType(Refusal):
    """The content type is not a media type (RFC 9110, section 8.3.1)."""

    code = "bad-content-type"


class BadTtl(Refusal):
    """The time to live is not a positive number of seconds."""

    code = "bad-ttl"


class BadParameter(Refusal):
    """A parameter of a request is invalid or out of range."""

    code = "bad-parameter"


class BadJson(Refusal):
    """The data is not JSON (RFC 8259), or not of the expected shape."""

    code = "bad-json"


class BadUtf8(Refusal):
    """The text is not valid UTF-8 (RFC 3629)."""

    code = "bad-utf8"
    close = 1007


class BadEscape(Refusal):
    """A backslash starts no known escape sequence."""

    code = "bad-escape"


class BadCommand(Refusal):
    """A known command has the wrong arguments."""

    code = "bad-command"


class UnknownCommand(Refusal):
    """There is no such command."""

    code = "unknown-command"


class HttpOnLines(UnknownCommand):
    """A line connection received an HTTP request, which any page can make a browser send; commands may follow."""


class Forbidden(Refusal):
    """The peer is not allowed to do this."""

    code = "forbidden"
    status = 403
    close = 4403


class NotGranted(Forbidden):
    """The grant of the peer does not allow the action on the topic."""

    is_abrupt = True
    challenge = 'Bearer error="insufficient_scope"'


class TokenMissing(Refusal):
    """The peer has no credential, and what it requests is not allowed without one."""

    code = "token-missing"
    status = 401
    close = 4401
    challenge = "Bearer"
    """Without an error code, as RFC 6750, section 3.1 requires for a request without a credential."""


class TokenInvalid(Refusal):
    """The credential is malformed, forged, unknown, or not accepted by this daemon."""

    code = "token-invalid"
    status = 401
    close = 4401
    challenge = 'Bearer error="invalid_token"'


class TokenExpired(Refusal):
    """The credential is genuine and has expired."""

    code = "token-expired"
    is_abrupt = True
    status = 401
    close = 4401
    challenge = 'Bearer error="invalid_token"'


class TokenRevoked(Refusal):
    """The credential is genuine and was revoked."""

    code = "token-revoked"
    is_abrupt = True
    status = 401
    close = 4401
    challenge = 'Bearer error="invalid_token"'


LAPSED = TokenExpired, TokenRevoked
"""The refusals of credentials that were accepted before."""
UNAUTHORIZED = TokenMissing, TokenInvalid, *LAPSED, NotGranted
"""The refusals of credentials, and of what a credential does not allow."""


class NotFound(Refusal):
    """There is no such resource."""

    code = "not-found"
    status = 404


class UnknownChannel(Refusal):
    """The channel has neither history nor subscribers."""

    code = "unknown-channel"
    status = 404


class UnknownConnection(Refusal):
    """No connection with that id is open."""

    code = "unknown-connection"
    status = 404


class TooLarge(Refusal):
    """The input exceeds a limit in bytes."""

    code = "too-large"
    is_limit = True
    status = 413
    close = 1009


class LineTooLong(TooLarge):
    """A line exceeds its limit."""

    code = "line-too-long"


class IdempotencyMismatch(Refusal):
    """The idempotency key was used before, for a publish with another body."""

    code = "idempotency-mismatch"
    status = 422


class TooManyChannels(Refusal):
    """All ``limits.channels`` channels are in use."""

    code = "too-many-channels"
    is_limit = True
    status = 429
    close = 4429
    retry_after = 60


class TooManySubscriptions(Refusal):
    """One connection has more topics than ``limits.subscriptions``, or all together take half of
    ``limits.waiting_bytes``.
    """

    code = "too-many-subscriptions"
    is_limit = True
    status = 429
    close = 4429
    retry_after = 60


class TooManyConnections(Refusal):
    """There are more connections than ``limits.connections`` or ``limits.connections_per_address``."""

    code = "too-many-connections"
    is_limit = True
    status = 429
    close = 4429
    retry_after = 10


class RateLimited(Refusal):
    """A peer publishes more than its quota or ``limits.messages_per_second`` allows. `state`: for HTTP headers."""

    code = "rate-limited"
    is_limit = True
    status = 429
    close = 4429

    def __init__(self, text: str, retry_after: int | None = 1, state: RateState | None = None) -> None:
        super().__init__(text)
        self.retry_after, self.state = retry_after, state

    def without_traceback(self) -> Self:
        """Return a copy without the traceback."""
        return type(self)(str(self), self.retry_after, self.state)


class TooManyRevocations(Refusal):
    """As many revocations as possible are kept already."""

    code = "too-many-revocations"
    is_limit = True
    status = 429
    retry_after = 60


class BadRequest(Refusal):
    """The request is not valid HTTP/1.1 (RFC 9112)."""

    code = "bad-request"


class TooLate(Refusal):
    """The headers of a request did not arrive within ``limits.handshake``."""

    code = "request-timeout"
    status = 408
    is_limit = True


class NoPong(Refusal):
    """The peer did not answer a ping."""

    code = "no-pong"
    close = 4408


class BadFrame(Refusal):
    """The peer violated the WebSocket protocol (RFC 6455)."""

    code = "bad-frame"
    close = 1002


class TooSlow(Refusal):
    """The subscriber's queue is full and its policy is to disconnect."""

    code = "slow"
    is_limit = True
    status = 503
    close = 1013
    retry_after = 1


class NoRoom(Refusal):
    """The memory budget of all connections, ``limits.waiting_bytes``, is exceeded."""

    code = "no-room"
    is_limit = True
    is_abrupt = True
    status = 503
    close = 1013
    retry_after = 1


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
