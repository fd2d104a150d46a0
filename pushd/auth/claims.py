"""Checks the claims of a token whose signature is valid (RFC 7519, section 4.1), and makes an identity of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from pushd.auth.token_checks import Check, CheckFailed
from pushd.core.grant import ACTIONS, Grant
from pushd.core.identity import MAX_SUBJECT_BYTES, Identity

LEEWAY = 10
"""By how many seconds the clock of an issuer may differ."""
GRANT_CLAIM = "pushd"
GRANT_KEYS = (*ACTIONS, "deny", "operate", "tags", "quota")
"""The keys of a grant, to which other claims can be mapped."""
Claims = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """What an issuer's claims must be.

    :param audiences: one of them must be in ``aud``.
    :param max_lifetime: the most seconds from ``iat``, or from now without it, to ``exp``.
    :param claims_map: the claim from which each key of the grant is taken; None: claim ``pushd`` is the grant.
    """

    audiences: frozenset[str]
    max_lifetime: float
    claims_map: Mapping[str, str] | None = None

    def claim_of(self, key: str) -> str:
        """Return the claim from which a key of the grant is taken; empty if there is none."""
        return f"{GRANT_CLAIM}.{key}" if self.claims_map is None else self.claims_map.get(key, "")


def check_claims(claims: Claims, rules: ClaimRules, now: float) -> int:
    """Check all claims except the grant and whether the token has expired, and return ``exp``.

    :param now: in unix seconds.
    :raises CheckFailed: for the first claim that is missing or invalid.
    """
    _check_audience(claims.get("aud"), rules.audiences)
    _check_text(claims, "sub", Check.SUBJECT, is_required=True)
    if len(str(claims["sub"]).encode()) > MAX_SUBJECT_BYTES:
        raise CheckFailed(Check.SUBJECT, "sub", f"claim sub must not exceed {MAX_SUBJECT_BYTES} bytes")
    _check_text(claims, "jti", Check.TOKEN_ID)
    _check_start(claims, "nbf", Check.NOT_BEFORE, now)
    issued_at = _check_start(claims, "iat", Check.ISSUED_AT, now)
    expires = _time(claims, "exp", Check.LIFETIME)
    if expires is None:
        raise CheckFailed(Check.LIFETIME, "exp", "claim exp is required")
    if expires - (now if issued_at is None else issued_at) > rules.max_lifetime:
        text = f"claim exp must be at most {rules.max_lifetime:.0f} seconds after iat, or after now without iat"
        raise CheckFailed(Check.LIFETIME, "exp", text)
    return expires


def check_expiry(expires: int, now: float, subject: str | None) -> None:
    """Check that a genuine token has not expired.

    :raises CheckFailed: when it has.
    """
    if now >= expires + LEEWAY:
        raise CheckFailed(Check.EXPIRY, "exp", "token has expired (claim exp)", subject=subject)


def identify(claims: Claims, rules: ClaimRules, issuer: str, expires: int, key: str) -> Identity:
    """Return the identity that checked claims prove. A token without a grant is allowed nothing.

    :param issuer: the name of the issuer in the configuration.
    :param expires: ``exp``; the leeway is not part of it.
    :param key: the fingerprint of the key that has verified the token.
    :raises CheckFailed: when the grant is invalid.
    """
    subject, token_id = claims["sub"], claims.get("jti")
    assert isinstance(subject, str)
    grant = _grant(claims, rules.claims_map, subject)
    token_id = token_id if isinstance(token_id, str) else None
    issued_at = _time(claims, "iat", Check.ISSUED_AT)
    text = msgspec.json.encode(claims)
    return Identity(subject, grant, issuer, expires, token_id, grant.tags, issued_at, key, text)


def _check_audience(value: object, audiences: frozenset[str]) -> None:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not values or not all(isinstance(each, str) for each in values):
        raise CheckFailed(Check.AUDIENCE, "aud", "claim aud must be a string or a list of strings and is required")
    if audiences.isdisjoint(values):
        raise CheckFailed(Check.AUDIENCE, "aud", "claim aud does not contain the audience of this daemon")


def _check_text(claims: Claims, name: str, check: Check, *, is_required: bool = False) -> None:
    value = claims.get(name)
    if name not in claims and not is_required:
        return
    if not isinstance(value, str) or not value:
        text = " and is required" if is_required else ""
        raise CheckFailed(check, name, f"claim {name} must be a string, must not be empty{text}")


def _check_start(claims: Claims, name: str, check: Check, now: float) -> int | None:
    """Return the time from which a token is valid, which must not be in the future; None if the claim is missing."""
    time = _time(claims, name, check)
    if time is not None and time > now + LEEWAY:
        raise CheckFailed(check, name, f"claim {name} is in the future")
    return time


def _time(claims: Claims, name: str, check: Check) -> int | None:
    """Return a time in unix seconds; None if the claim is missing."""
    value = claims.get(name)
    if name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise CheckFailed(check, name, f"claim {name} must be an integer of unix seconds")
    return value


def _grant(claims: Claims, claims_map: Mapping[str, str] | None, subject: str) -> Grant:
    where = f"claim {GRANT_CLAIM}" if claims_map is None else "grant from claims_map"
    table = claims.get(GRANT_CLAIM, {}) if claims_map is None else _mapped(claims, claims_map)
    if not isinstance(table, dict):
        raise CheckFailed(Check.GRANT, GRANT_CLAIM, f"claim {GRANT_CLAIM} must be an object")
    try:
        return Grant.parse(table, subject, where=where)
    except ValueError as error:
        claim = GRANT_CLAIM if claims_map is None else ""
        raise CheckFailed(Check.GRANT, claim, f"{where} is not a valid grant", str(error)) from None


def _mapped(claims: Claims, claims_map: Mapping[str, str]) -> dict[str, object]:
    """Return the table of a grant whose keys are taken from other claims. Claims that are missing are left out."""
    table = {}
    for key, path in claims_map.items():
        value = _find(claims, path)
        if value is not None:
            table[key] = value.split() if isinstance(value, str) else value
    return table


def _find(claims: Claims, path: str) -> object:
    """Return the claim of this name, or the member of nested claims whose names are joined by dots; None if missing."""
    if path in claims:
        return claims[path]
    value: object = claims
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value
