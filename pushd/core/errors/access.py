"""Refusals of credentials, and of what a credential does not allow."""

from pushd.core.errors.refusal import Refusal


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
