"""The identity of an authenticated peer."""

from dataclasses import dataclass
from typing import Final

from pushd.core.grant import Grant

MAX_TOKEN_BYTES: Final = 8 << 10
"""The most bytes of a token."""
MAX_SUBJECT_BYTES: Final = 255
"""The most bytes of a subject in UTF-8. Each message of its publisher contains it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a peer is, as its credential says, and what it may do."""

    subject: str | None
    grant: Grant
    issuer: str
    """The name of the issuer in the configuration, or ``token:NAME`` for a static token."""
    expires: float | None = None
    """When the credential expires, in unix seconds; None: never."""
    token_id: str | None = None
    """The id by which the credential can be revoked: ``jti`` (RFC 7519, section 4.1.7), or the SHA-256 of the token."""
    tags: tuple[str, ...] = ()
    """By which groups of credentials can be revoked."""
