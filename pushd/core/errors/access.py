"""Refusals of credentials, and of what a credential does not allow."""

from typing import Self

from pushd.core.errors.refusal import Refusal


class AccessRefused(Refusal):
    """A credential is not accepted, or does not allow what is requested. The audit log has it.

    :ivar action: what was requested, if that decided; ``operate`` for an operation.
    :ivar topic: the topic, or the operation, for which it was requested.
    :ivar subject: the subject of a genuine credential that is not accepted any more.
    """

    def __init__(
        self, text: str = "", action: str | None = None, topic: str | None = None, *, subject: str | None = None
    ) -> None:
        super().__init__(text)
        self.action, self.topic, self.subject = action, topic, subject

    def without_traceback(self) -> Self:
        """Return a copy without the traceback."""
        return type(self)(str(self), self.action, self.topic, subject=self.subject)


class Forbidden(AccessRefused):
    """The peer is not allowed to do this."""

    code = "forbidden"
    status = 403
    close = 4403


class NotGranted(Forbidden):
    """The grant of the peer does not allow the action on the topic."""

    is_abrupt = True
    challenge = 'Bearer error="insufficient_scope"'


class TokenMissing(AccessRefused):
    """The peer has no credential, and what it requests is not allowed without one."""

    code = "token-missing"
    status = 401
    close = 4401
    challenge = "Bearer"
    """Without an error code, as RFC 6750, section 3.1 requires for a request without a credential."""


class TokenInvalid(AccessRefused):
    """The credential is malformed, forged, unknown, or not accepted by this daemon."""

    code = "token-invalid"
    status = 401
    close = 4401
    challenge = 'Bearer error="invalid_token"'


class TokenExpired(AccessRefused):
    """The credential is genuine and has expired."""

    code = "token-expired"
    is_abrupt = True
    status = 401
    close = 4401
    challenge = 'Bearer error="invalid_token"'


class TokenRevoked(AccessRefused):
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
