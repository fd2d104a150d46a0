"""The identity of an authenticated peer."""

from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from pushd.core.grant import Grant

MAX_TOKEN_BYTES: Final = 8 << 10
"""The most bytes of a token."""
MAX_SUBJECT_BYTES: Final = 255
"""The most bytes of a subject in UTF-8. Each message of its publisher contains it."""

STATIC: Final = "token:"
"""The prefix of the issuer of a static token; the name of the token follows."""

ANONYMOUS: Final = "-"
"""The `owner_of` connections without a credential."""

QuotaKey = tuple[str | None, str | None, str | None]
"""To whom a quota applies: a subject, or an address of peers without one; before it, who vouches for them, if anybody.
The three parts are the authority, the subject and the address.
"""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a peer is, as its credential says, and what it may do."""

    subject: str | None
    grant: Grant
    issuer: str
    """The name of the issuer in the configuration; ``token:NAME`` for a static token, ``url:KID`` for a signed URL."""
    expires: float | None = None
    """When the credential expires, in unix seconds; None: never."""
    token_id: str | None = None
    """The id by which the credential can be revoked: ``jti`` (RFC 7519, section 4.1.7), or the SHA-256 of the token."""
    tags: tuple[str, ...] = ()
    """By which groups of credentials can be revoked."""
    issued_at: float | None = None
    """When the credential was issued, in unix seconds. If it is None, any revocation that names it covers it."""
    key: str = field(default="", repr=False)
    """The fingerprint of the key that has verified the credential; empty for a static token."""

    claims: bytes = field(default=b"", repr=False, compare=False)
    """All claims of a JSON Web Token, as JSON; empty for other credentials."""

    authority: str = field(init=False, repr=False, compare=False)
    """Who vouches for the subject: the issuer, or the file of static tokens, whatever the name of the token."""
    quota_key: QuotaKey | None = field(init=False, repr=False, compare=False)
    """To whom its quota applies; None without a subject."""

    def __post_init__(self) -> None:
        """Set what follows from the issuer and the subject."""
        authority = STATIC if self.issuer.startswith(STATIC) else self.issuer
        object.__setattr__(self, "authority", authority)
        object.__setattr__(self, "quota_key", None if self.subject is None else (authority, self.subject, None))

    def is_same_as(self, other: "Identity") -> bool:
        """Return whether two credentials are of the same authority and subject, so that one may replace the other."""
        return (self.authority, self.subject) == (other.authority, other.subject)


def owner_of(identity: Identity | None) -> str:
    """Return a text that is equal for the connections of one authority and subject, and for all anonymous ones.

    Credentials without a subject are only equal to themselves.
    """
    if identity is None:
        return ANONYMOUS
    authority, subject = identity.authority, identity.subject
    who = f"{len(authority)} {authority} {subject}" if subject is not None else identity.issuer
    return urlsafe_b64encode(sha256(who.encode()).digest()[:18]).decode("ascii")
