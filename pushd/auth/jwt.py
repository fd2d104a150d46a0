"""Verifies JSON Web Tokens (RFC 7519), following the best current practices of RFC 8725.

A token selects one of the configured issuers by its claim ``iss``, and nothing else: keys, algorithms and rules are
those of the issuer's section in the configuration. Two issuers never share keys, even if their keys have the same id.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from pushd.auth.claims import ClaimRules, check_claims, check_expiry, identify
from pushd.auth.compact_token import CompactToken, parse_token
from pushd.auth.token_checks import Check, CheckFailed, Verdict
from pushd.auth.verification_keys import KeySet, VerificationKey
from pushd.core.errors import Unavailable
from pushd.core.identity import Identity

_MAX_ATTEMPTS = 4
"""The most keys with which one signature is verified."""


class KeySource(Protocol):
    """Where the keys of one issuer come from."""

    async def key_set(self, key_id: str | None) -> KeySet:
        """Return the keys, after fetching them again if none has this id and that is due.

        :raises Unavailable: when there are no keys at present.
        """

    def has_key(self, thumbprint: str) -> bool | None:
        """Return whether a key is among the present ones; None if there are none at present."""


class FixedKeys:
    """Keys that were read from files."""

    def __init__(self, keys: KeySet) -> None:
        self._keys = keys

    async def key_set(self, key_id: str | None) -> KeySet:
        """See `KeySource`."""
        return self._keys

    def has_key(self, thumbprint: str) -> bool | None:
        """See `KeySource`."""
        return thumbprint in self._keys.thumbprints


@dataclass(frozen=True, slots=True)
class Issuer:
    """An issuer whose tokens are accepted."""

    name: str
    """The name of its section in the configuration, for the operator."""
    issuer: str
    """The value of the claim ``iss``."""
    algorithms: frozenset[str]
    keys: KeySource
    rules: ClaimRules

    def differs_from(self, other: "Issuer") -> bool:
        """Return whether a token that one accepts may be refused by the other, or have another grant; keys apart."""
        return (self.issuer, self.algorithms, self.rules) != (other.issuer, other.algorithms, other.rules)


class JwtVerifier:
    """Verifies the tokens of all issuers.

    :param clock: returns the time in unix seconds.
    """

    def __init__(self, issuers: Iterable[Issuer], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._issuers: dict[str, Issuer] = {}
        self.reconfigure(issuers)

    @property
    def issuers(self) -> Collection[Issuer]:
        """The accepted issuers."""
        return self._issuers.values()

    def reconfigure(self, issuers: Iterable[Issuer]) -> None:
        """Replace the issuers."""
        self._issuers = {each.issuer: each for each in issuers}

    async def verify(self, token: str) -> Identity | None:
        """Return the identity that a token proves; None if it is not a JSON Web Token.

        :raises TokenInvalid: when it is invalid. The text names claims, and no values.
        :raises TokenExpired: when it is genuine, but has expired.
        :raises Unavailable: when the keys of its issuer are not available.
        """
        verdict = await self.examine(token)
        if verdict is None:
            return None
        if verdict.refusal is not None:
            raise verdict.refusal
        return verdict.identity

    async def examine(self, token: str) -> Verdict | None:
        """Return the verdict on a token, with the check that decided; None if it is not a JSON Web Token."""
        if "." not in token:
            return None
        name = ""
        try:
            parsed = parse_token(token)
            issuer = self._issuer_of(parsed)
            name = issuer.name
            return Verdict(await self._verify(parsed, issuer), issuer=name, claim_of=issuer.rules.claim_of)
        except CheckFailed as failure:
            return Verdict(None, failure.refusal(), failure.check, failure.claim, name, failure.detail)
        except Unavailable as refusal:
            return Verdict(None, refusal, Check.KEY, "", name)

    def _issuer_of(self, token: CompactToken) -> Issuer:
        value = token.claims.get("iss")
        if not isinstance(value, str):
            raise CheckFailed(Check.ISSUER, "iss", "claim iss must be a string and is required")
        issuer = self._issuers.get(value)
        if issuer is None:
            raise CheckFailed(Check.ISSUER, "iss", "claim iss names no issuer that is configured")
        return issuer

    async def _verify(self, token: CompactToken, issuer: Issuer) -> Identity:
        if token.algorithm not in issuer.algorithms:
            raise CheckFailed(Check.ALGORITHM, "alg", "header member alg is no algorithm of this issuer")
        key = _verifying_key(token, await issuer.keys.key_set(token.key_id))
        now = self._clock()
        expires = check_claims(token.claims, issuer.rules, now)
        identity = identify(token.claims, issuer.rules, issuer.name, expires, key.thumbprint)
        check_expiry(expires, now, identity.subject)
        return identity


def _verifying_key(token: CompactToken, keys: KeySet) -> VerificationKey:
    """Return the key with which the signature of a token is valid."""
    if not keys.knows(token.key_id):
        raise CheckFailed(Check.KEY, "kid", "header member kid names no key of this issuer")
    candidates = keys.candidates(token.key_id, token.algorithm)
    if not candidates:
        raise CheckFailed(Check.KEY, "alg", "the issuer has no key for this algorithm and kid")
    if len(candidates) > _MAX_ATTEMPTS:
        raise CheckFailed(Check.KEY, "kid", "header member kid is required: the issuer has many keys")
    for key in candidates:
        if key.verify(token.algorithm, token.signed, token.signature):
            return key
    raise CheckFailed(Check.SIGNATURE, "", "signature does not match the keys of this issuer")
