"""Authentication: the order of verifiers, the limit of tokens, and the cache."""

from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pushd.auth.authenticator import Authenticator, Verifier
from pushd.auth.token_checks import Check, Verdict
from pushd.core.errors import TokenExpired, TokenInvalid
from pushd.core.grant import NOTHING
from pushd.core.identity import MAX_TOKEN_BYTES, Identity

T = TypeVar("T")


class RecordingVerifier:
    """Accepts tokens that begin with a prefix, and records all that it is asked to verify.

    :param expires: when accepted tokens expire, in unix seconds.
    """

    def __init__(self, prefix: str, expires: float | None = None) -> None:
        self.prefix = prefix
        self.expires = expires
        self.verified: list[str] = []
        self.waiting: Deferred[None] | None = None
        """If set, what each verification waits for."""

    async def verify(self, token: str) -> Identity | None:
        """See `Verifier`."""
        self.verified.append(token)
        if self.waiting is not None:
            await self.waiting
        if token == f"{self.prefix}-expired":
            raise TokenExpired("token has expired")
        return Identity(token, NOTHING, self.prefix, self.expires) if token.startswith(self.prefix) else None

    async def examine(self, token: str) -> Verdict | None:
        """See `Verifier`."""
        identity = await self.verify(token)
        return None if identity is None else Verdict(identity)


def now(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that does not wait."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("the coroutine waits")


def authenticator(*verifiers: Verifier, clock: Clock | None = None, **limits: Any) -> Authenticator:
    """Return an authenticator with a clock that does not advance by itself."""
    return Authenticator(verifiers, (clock or Clock()).seconds, **limits)


def test_first_verifier_that_recognizes_a_token_decides() -> None:
    first, second = RecordingVerifier("a"), RecordingVerifier("ab")
    assert now(authenticator(first, second).authenticate("abc")).issuer == "a"
    assert now(authenticator(second, first).authenticate("abc")).issuer == "ab"
    assert (first.verified, second.verified) == (["abc"], ["abc"])


def test_token_that_no_verifier_recognizes_is_refused_without_repeating_it() -> None:
    for refusing in (authenticator(), authenticator(RecordingVerifier("a"))):
        with pytest.raises(TokenInvalid) as refusal:
            now(refusing.authenticate("secret-token"))
        assert "secret" not in str(refusal.value)
        assert len(refusing) == 0


def test_refusal_of_a_verifier_ends_the_search() -> None:
    last = RecordingVerifier("")
    with pytest.raises(TokenExpired):
        now(authenticator(RecordingVerifier("a"), last).authenticate("a-expired"))
    assert last.verified == []


@pytest.mark.parametrize("letter", ["x", "\u00fc", "\ud800"])
def test_token_over_limit_is_refused_before_it_is_verified(letter: str) -> None:
    verifier = RecordingVerifier("")
    size = len(letter.encode("utf-8", "surrogatepass"))
    longest = letter * (MAX_TOKEN_BYTES // size)
    assert now(authenticator(verifier).authenticate(longest)).subject == longest
    with pytest.raises(TokenInvalid, match="8192 bytes"):
        now(authenticator(verifier).authenticate(longest + letter))
    with pytest.raises(TokenInvalid):
        now(authenticator(verifier).authenticate(letter * (1 << 20)))
    assert len(verifier.verified) == 1


def test_verified_token_is_cached_until_it_expires() -> None:
    clock, verifier = Clock(), RecordingVerifier("a", expires=100.0)
    caching = authenticator(verifier, clock=clock)
    first = now(caching.authenticate("a"))
    clock.advance(99)
    assert now(caching.authenticate("a")) is first
    assert len(caching) == 1
    clock.advance(1)
    now(caching.authenticate("a"))
    assert verifier.verified == ["a", "a"]
    assert len(caching) == 0


def test_token_without_expiry_stays_cached() -> None:
    clock, verifier = Clock(), RecordingVerifier("a")
    caching = authenticator(verifier, clock=clock)
    for _ in range(3):
        now(caching.authenticate("a"))
        clock.advance(1e9)
    assert verifier.verified == ["a"]


def test_similar_tokens_are_different() -> None:
    verifier = RecordingVerifier("a")
    caching = authenticator(verifier)
    assert [now(caching.authenticate(token)).subject for token in ("a", "a ", "a", "a\0")] == ["a", "a ", "a", "a\0"]
    assert len(verifier.verified) == 3


def test_cache_evicts_the_least_recently_used_token() -> None:
    verifier = RecordingVerifier("")
    caching = authenticator(verifier, max_cached=3)
    for token in ("1", "2", "3", "1", "4"):
        now(caching.authenticate(token))
    assert len(caching) == 3
    verifier.verified.clear()
    for token in ("1", "3", "4", "2"):
        now(caching.authenticate(token))
    assert verifier.verified == ["2"]


def test_cache_is_bounded_by_the_bytes_of_its_tokens() -> None:
    verifier = RecordingVerifier("")
    caching = authenticator(verifier, max_cached_bytes=10)
    for token in ("aaaa", "bbbb", "cc", "dddd"):
        now(caching.authenticate(token))
    verifier.verified.clear()
    for token in ("dddd", "cc", "bbbb", "aaaa"):
        now(caching.authenticate(token))
    assert verifier.verified == ["aaaa"]
    now(caching.authenticate("e" * 11))
    assert len(caching) == 0


def test_expired_tokens_are_removed_when_others_are_cached() -> None:
    clock, verifier = Clock(), RecordingVerifier("", expires=100.0)
    caching = authenticator(verifier, clock=clock, max_cached_bytes=3)
    for token in ("a", "b", "c"):
        now(caching.authenticate(token))
    clock.advance(100)
    verifier.expires = 200.0
    for token in ("d", "e", "f"):
        now(caching.authenticate(token))
    assert len(caching) == 3
    verifier.verified.clear()
    for token in ("d", "e", "f"):
        now(caching.authenticate(token))
    assert verifier.verified == []


def test_new_verifiers_verify_cached_tokens_again() -> None:
    before, after = RecordingVerifier("a"), RecordingVerifier("b")
    caching = authenticator(before)
    now(caching.authenticate("a"))
    caching.reconfigure([after])
    with pytest.raises(TokenInvalid):
        now(caching.authenticate("a"))
    assert after.verified == ["a"]


def test_token_is_not_accepted_by_verifiers_that_were_replaced_meanwhile() -> None:
    before, after = RecordingVerifier("a"), RecordingVerifier("b")
    before.waiting = Deferred()
    caching = authenticator(before)
    pending = Deferred.fromCoroutine(caching.authenticate("a"))
    caching.reconfigure([after])
    before.waiting.callback(None)
    failures: list[object] = []
    pending.addErrback(lambda failure: failures.append(failure.trap(TokenInvalid)))
    assert failures == [TokenInvalid]
    assert len(caching) == 0


def test_token_that_is_verified_twice_at_once_is_cached_once() -> None:
    verifier = RecordingVerifier("a")
    verifier.waiting = Deferred()
    caching = authenticator(verifier, max_cached_bytes=1)
    pending = [Deferred.fromCoroutine(caching.authenticate("a")) for _ in range(2)]
    verifier.waiting.callback(None)
    assert [each.called for each in pending] == [True, True]
    assert len(caching) == 1


def test_cache_holds_no_token_text() -> None:
    caching = authenticator(RecordingVerifier("s"))
    now(caching.authenticate("secret"))
    (digest,) = caching._cache
    assert len(digest) == 32


def test_verdict_is_that_of_the_first_verifier_that_recognizes_the_token_and_is_not_cached() -> None:
    first, second = RecordingVerifier("a"), RecordingVerifier("")
    examining = authenticator(first, second)
    verdict = now(examining.examine("b"))
    assert verdict.identity is not None
    assert (verdict.identity.issuer, len(examining)) == ("", 0)
    assert now(authenticator(first).examine("b")).check is Check.KNOWN
    assert now(examining.examine("x" * (MAX_TOKEN_BYTES + 1))).check is Check.SIZE
