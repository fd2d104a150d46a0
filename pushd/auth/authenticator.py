"""Authentication: from the text of a token to an identity, by the first verifier that recognizes it."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final, NamedTuple, Protocol

from pushd.auth.token_checks import Check, Verdict
from pushd.core.errors import TokenInvalid
from pushd.core.grant import FULL, NOTHING, Grant
from pushd.core.identity import MAX_TOKEN_BYTES, Identity

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

    def reconfigure(self, verifiers: Sequence[Verifier], anonymous: Grant = NOTHING) -> None:
        """Replace the verifiers and the grant of anonymous peers; each token is verified again when it comes next."""
        self._verifiers = tuple(verifiers)
        self.anonymous = anonymous
        self.forget()

    def forget(self) -> None:
        """Verify each token again when it is presented next: a key may have been withdrawn."""
        self._cache.clear()
        self._cached_bytes = 0

    async def authenticate(self, token: str) -> Identity:
        """Return the identity of a token.

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
                return verdict
        return Verdict(None, TokenInvalid(_UNKNOWN), Check.KNOWN)

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
