"""Authentication: from the text of a token to an identity, by the first verifier that recognizes it."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final, NamedTuple, Protocol

from pushd.auth.token_checks import Check, Verdict
from pushd.core.errors import TokenInvalid, TokenRevoked
from pushd.core.grant import FULL, NOTHING, Grant
from pushd.core.identity import MAX_TOKEN_BYTES, Identity
from pushd.core.revocations import REVOKED, Revocation

MAX_CACHED: Final = 100_000
"""The most verified tokens that are cached."""
MAX_CACHED_BYTES: Final = 64 << 20
"""The most bytes of the cached tokens together. The tokens are not kept; the memory of their grants grows with them."""
_UNKNOWN: Final = "token is not known to this daemon"


class Verifier(Protocol):
    """Verifies one kind of token."""

    async def verify(self, token: str) -> Identity | None:
        """Return the identity of a token of at most `MAX_TOKEN_BYTES`; None if it is of another kind.

        :raises TokenInvalid: when it is of this kind and not accepted.
        :raises TokenExpired: when it is genuine and has expired.
        """

    async def examine(self, token: str) -> Verdict | None:
        """Return the same as a verdict, with the check that decided; None if the token is of another kind."""


class RevocationChecks(Protocol):
    """Checks credentials that are genuine for revocations."""

    def check_known(self) -> None:
        """Check that the revocations are known.

        :raises Unavailable: when this node has not reached the backend for too long.
        """

    def check(self, identity: Identity) -> None:
        """Check that the credential of an identity has not been revoked.

        :raises TokenRevoked: when it has.
        """

    def covering(self, identity: Identity) -> Revocation | None:
        """Return a revocation that covers the credential of an identity; None if there is none."""


class NoRevocations:
    """The checks of a daemon in which nothing can be revoked."""

    def check_known(self) -> None:
        """Accept."""

    def check(self, identity: Identity) -> None:
        """Accept."""

    def covering(self, identity: Identity) -> Revocation | None:
        """Return None."""
        return None


class _Verified(NamedTuple):
    identity: Identity
    size: int
    """The bytes of the token."""


class Authenticator:
    """Authenticates tokens, and caches the verified ones until they expire; and what peers without a token may do.

    All transports share one, which a reload reconfigures.

    Tokens are cached by their SHA-256: neither a token nor a part of it is kept, or appears in an error.

    :param verifiers: are asked in this order.
    :param time: returns the unix time in seconds.
    :param anonymous: the grant of peers without a credential; if it is `FULL`, authentication is off.
    """

    def __init__(
        self,
        verifiers: Sequence[Verifier],
        time: Callable[[], float],
        anonymous: Grant = NOTHING,
        *,
        max_cached: int = MAX_CACHED,
        max_cached_bytes: int = MAX_CACHED_BYTES,
    ) -> None:
        self.anonymous = anonymous
        """The grant of peers without a credential."""
        self.revocations: RevocationChecks = NoRevocations()
        self._verifiers = tuple(verifiers)
        self._time = time
        self._max_cached = max_cached
        self._max_cached_bytes = max_cached_bytes
        self._cache: OrderedDict[bytes, _Verified] = OrderedDict()
        """By SHA-256, the least recently used first. To find the first, a `dict` would skip all removed entries."""
        self._cached_bytes = 0

    def __len__(self) -> int:
        """Return the number of cached tokens."""
        return len(self._cache)

    @property
    def is_enabled(self) -> bool:
        """Whether authentication is on. If it is off, everything is allowed, and tokens are ignored."""
        return not self.anonymous.is_full

    @property
    def version(self) -> object:
        """Another object once tokens have to be verified again: after each reload, and each call of `forget`."""
        return self._cache

    def reconfigure(self, verifiers: Sequence[Verifier], anonymous: Grant = NOTHING) -> None:
        """Replace the verifiers and the grant of anonymous peers; each token is verified again when it comes next."""
        self._verifiers = tuple(verifiers)
        self.anonymous = anonymous
        self.forget()

    def forget(self) -> None:
        """Verify each token again when it is presented next: a key may have been withdrawn."""
        self._cache = OrderedDict()
        self._cached_bytes = 0

    async def authenticate(self, token: str) -> Identity:
        """Return the identity of a token that has not been revoked.

        :raises TokenInvalid: when it is too large, or no verifier accepts it.
        :raises TokenExpired: when it is genuine and has expired.
        :raises TokenRevoked: when it is genuine and has been revoked.
        :raises Unavailable: when it cannot be known whether it has been revoked.
        """
        identity = await self.verify(token)
        self.check_revocations(identity)
        return identity

    def check_revocations(self, identity: Identity, *, needs_revocations: bool = True) -> None:
        """Check that a genuine credential has not been revoked.

        :param needs_revocations: False: accept it also while newer revocations may be unknown.
        :raises TokenRevoked: when it has been revoked.
        :raises Unavailable: when that cannot be known.
        """
        self.revocations.check(identity)
        if needs_revocations:
            self.revocations.check_known()

    async def verify(self, token: str) -> Identity:
        """Return the identity of a token, whether it has been revoked or not.

        :raises TokenInvalid: when it is too large, or no verifier accepts it.
        :raises TokenExpired: when it is genuine and has expired.
        """
        data = _encode(token)
        digest = sha256(data).digest()
        identity = self._cached(digest)
        while identity is None:
            verifiers = self._verifiers
            verified = await _verify(verifiers, token)
            # If they were replaced meanwhile, the new ones decide.
            if verifiers is self._verifiers:
                identity = verified
                self._keep(digest, _Verified(identity, len(data)))
        return identity

    async def examine(self, token: str) -> Verdict:
        """Return the verdict on a token, with the check that decided. The cache is not used."""
        try:
            _encode(token)
        except TokenInvalid as refusal:
            return Verdict(None, refusal, Check.SIZE)
        for verifier in self._verifiers:
            verdict = await verifier.examine(token)
            if verdict is not None:
                return self.unless_revoked(verdict)
        return Verdict(None, TokenInvalid(_UNKNOWN), Check.KNOWN)

    def unless_revoked(self, verdict: Verdict) -> Verdict:
        """Return a verdict; if the credential is genuine, but has been revoked, the verdict that says so."""
        identity = verdict.identity
        revocation = None if identity is None else self.revocations.covering(identity)
        if revocation is None:
            return verdict
        claim = verdict.claim_of("tags") if revocation.kind == "tag" else revocation.kind
        return Verdict(None, TokenRevoked(REVOKED), Check.REVOCATION, claim, verdict.issuer)

    def _cached(self, digest: bytes) -> Identity | None:
        verified = self._cache.pop(digest, None)
        if verified is None:
            return None
        if self._has_expired(verified.identity):
            self._cached_bytes -= verified.size
            return None
        self._cache[digest] = verified
        return verified.identity

    def _keep(self, digest: bytes, verified: _Verified) -> None:
        if self._has_expired(verified.identity):  # within the leeway of its verifier
            return
        replaced = self._cache.pop(digest, None)
        self._cached_bytes += verified.size - (replaced.size if replaced else 0)
        self._cache[digest] = verified
        while self._cache and self._must_evict():
            oldest = next(iter(self._cache))
            self._cached_bytes -= self._cache.pop(oldest).size

    def _must_evict(self) -> bool:
        """Return whether the least recently used token is to be removed: it has expired, or a limit is exceeded."""
        oldest = next(iter(self._cache.values()))
        is_full = len(self._cache) > self._max_cached or self._cached_bytes > self._max_cached_bytes
        return is_full or self._has_expired(oldest.identity)

    def _has_expired(self, identity: Identity) -> bool:
        return identity.expires is not None and identity.expires <= self._time()


def _encode(token: str) -> bytes:
    """Return a token as bytes.

    :raises TokenInvalid: when it is too large.
    """
    data = token[: MAX_TOKEN_BYTES + 1].encode("utf-8", "surrogatepass")
    if len(data) > MAX_TOKEN_BYTES:
        raise TokenInvalid(f"token must not exceed {MAX_TOKEN_BYTES} bytes")
    return data


async def _verify(verifiers: Sequence[Verifier], token: str) -> Identity:
    for verifier in verifiers:
        identity = await verifier.verify(token)
        if identity is not None:
            return identity
    raise TokenInvalid(_UNKNOWN)


NO_AUTHENTICATION: Final = Authenticator((), lambda: 0.0, FULL)
"""The authenticator of a daemon in which everything is allowed to everybody."""
