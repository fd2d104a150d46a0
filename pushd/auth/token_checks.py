"""The checks of a JSON Web Token, and the failure of one.

The text of a failure is sent to the peer. It names claims and header members, and contains nothing of their values.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from pushd.core.errors import Refusal, TokenExpired, TokenInvalid
from pushd.core.identity import Identity


class Check(StrEnum):
    """What is checked, in this order: a token is called expired only when everything else about it is valid."""

    SIZE = "size"
    KNOWN = "known"
    """Whether it is a static token of the tokens file, or has the form of a JSON Web Token."""
    FORM = "form"
    HEADER = "header"
    CLAIMS = "claims"
    ISSUER = "issuer"
    ALGORITHM = "algorithm"
    KEY = "key"
    SIGNATURE = "signature"
    AUDIENCE = "audience"
    SUBJECT = "subject"
    TOKEN_ID = "token-id"
    NOT_BEFORE = "not-before"
    ISSUED_AT = "issued-at"
    LIFETIME = "lifetime"
    GRANT = "grant"
    EXPIRY = "expiry"
    REVOCATION = "revocation"
    METHOD = "method"
    """From here on: whether a URL can be signed for the method of the request."""
    PARAMETERS = "parameters"
    FIRST_USE = "first-use"
    """Whether a URL is used before ``exp``, or was."""


class CheckFailed(Exception):
    """A check of a token failed.

    :param claim: the claim or header member that was examined; empty if it was the token as a whole.
    :param reason: a clause that says what is wrong.
    :param detail: more for the operator, which may quote the grant; never sent to the peer.
    :param subject: that of a genuine token; never sent to the peer.
    """

    def __init__(self, check: Check, claim: str, reason: str, detail: str = "", *, subject: str | None = None) -> None:
        super().__init__(reason)
        self.check = check
        self.claim = claim
        self.detail = detail
        self.subject = subject

    def refusal(self) -> Refusal:
        """Return the refusal of the token."""
        if self.check in (Check.EXPIRY, Check.FIRST_USE):
            return TokenExpired(str(self), subject=self.subject)
        return TokenInvalid(str(self))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of verifying a token: an identity, or a refusal with the check that decided."""

    identity: Identity | None = None
    refusal: Refusal | None = None
    check: Check | None = None
    """The check that failed; None if none did."""
    claim: str = ""
    """The claim or header member that the check examined; may be empty."""
    issuer: str = ""
    """The name of the issuer's section in the configuration; empty if no issuer was found."""
    detail: str = ""
    """More for the operator, which may quote the grant; may be empty."""
    claim_of: Callable[[str], str] = str
    """Returns where each key of the grant is in the token or its file; empty if it can be nowhere."""
