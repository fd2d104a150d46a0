"""Forged and odd tokens: each is refused with its code, and for the intended reason.

After RFC 8725 (JSON Web Token Best Current Practices), and published vulnerabilities of other implementations.
"""

import hashlib
import hmac
import json
import sys
from typing import Any, NamedTuple

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, RSAKey

from pushd.auth.jwt import JwtVerifier
from pushd.auth.token_checks import Check, Verdict
from pushd.auth.verification_keys import parse_key_set
from pushd.core.errors import TokenExpired, TokenInvalid
from tests.auth.jwt_issuer import (
    NOW,
    SECRET,
    b64,
    claims,
    encode,
    hmac_token,
    issuer,
    jwks,
    private_key,
    signed_token,
    verifier,
)
from tests.auth.jwt_issuer import header as head

OTHER_SECRET = b"another secret, also 32 bytes or more long"
PADDED = "=" * (-len(encode(claims())) % 4) or "===="


class Forged(NamedTuple):
    """A token that must be refused."""

    name: str
    token: str
    check: Check
    claim: str = ""
    algorithm: str = "HS256"
    """The algorithm of the issuer."""


def _pem() -> bytes:
    key = private_key("RS256")
    assert isinstance(key, RSAKey)
    return key.as_pem(private=False)


def _raw(header_text: str, claims_text: str, secret: bytes = SECRET) -> str:
    signed = f"{header_text}.{claims_text}"
    return f"{signed}.{b64(hmac.digest(secret, signed.encode('utf-8'), hashlib.sha256))}"


def _swap_last_bits(token: str) -> str:
    """Set a bit of the last character of the signature that is not part of its bytes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) | 1]


def _attacker_jwk() -> dict[str, Any]:
    key = private_key("RS256", "attacker")
    return dict(key.as_dict(private=False))


def _duplicate(text: str) -> bytes:
    """Return the claims with one more member, before the others."""
    return b"{" + text.encode("utf-8") + b"," + json.dumps(claims()).encode("utf-8")[1:]


TOKEN = hmac_token()
ES256_TOKEN = signed_token("ES256")
HEADER, CLAIMS, SIGNATURE = TOKEN.split(".")
MEMBERS: list[tuple[str, Any]] = [
    ("jku", "https://evil.example/jwks.json"),
    ("jwk", {"kty": "oct", "k": b64(SECRET)}),
    ("x5u", "https://evil.example/cert.pem"),
    ("x5c", ["MIIB"]),
    ("crit", ["exp"]),
    ("crit", []),
    ("b64", False),
    ("b64", True),
    ("zip", "DEF"),
    ("enc", "A128GCM"),
    ("cty", "JWT"),
]
# Before Python 3.12 the parser of JSON refuses what is nested more than about 1000 times.
_REFUSES_NESTED = sys.version_info < (3, 12)
_NESTED_CLAIMS = (Check.CLAIMS, "") if _REFUSES_NESTED else (Check.ISSUER, "iss")
_NESTED_HEADER = (Check.HEADER, "") if _REFUSES_NESTED else (Check.HEADER, "alg")

FORGED = [
    Forged("alg-none", f"{encode(head(alg='none'))}.{CLAIMS}.", Check.ALGORITHM, "alg"),
    Forged("alg-none-signed", hmac_token(head(alg="none")), Check.ALGORITHM, "alg"),
    Forged("alg-none-in-mixed-case", f"{encode(head(alg='nOnE'))}.{CLAIMS}.", Check.ALGORITHM, "alg"),
    Forged("alg-empty", hmac_token(head(alg="")), Check.ALGORITHM, "alg"),
    Forged("alg-missing", hmac_token(head(alg=...)), Check.HEADER, "alg"),
    Forged("alg-list", hmac_token(head(alg=["HS256"])), Check.HEADER, "alg"),
    Forged("alg-null", hmac_token(head(alg=None)), Check.HEADER, "alg"),
    Forged("alg-not-configured", signed_token("HS384"), Check.ALGORITHM, "alg"),
    Forged("alg-in-lower-case", hmac_token(head(alg="hs256")), Check.ALGORITHM, "alg"),
    Forged("alg-es256k", hmac_token(head(alg="ES256K")), Check.ALGORITHM, "alg", "ES256"),
    Forged("alg-rsa1_5", hmac_token(head(alg="RSA1_5")), Check.ALGORITHM, "alg", "RS256"),
    Forged("hmac-with-public-key-as-pem", hmac_token(head(kid="k1"), secret=_pem()), Check.ALGORITHM, "alg", "RS256"),
    Forged(
        "hmac-with-public-key-under-rs256",
        hmac_token(head("RS256"), secret=_pem()),
        Check.SIGNATURE,
        algorithm="RS256",
    ),
    Forged(
        "hmac-with-public-key-as-jwk",
        hmac_token(head(kid="k1"), secret=json.dumps(jwks(private_key("RS256"))["keys"][0]).encode("utf-8")),
        Check.ALGORITHM,
        "alg",
        "RS256",
    ),
    Forged("hmac-with-empty-secret", hmac_token(secret=b""), Check.SIGNATURE),
    Forged("hmac-with-other-secret", hmac_token(secret=OTHER_SECRET), Check.SIGNATURE),
    Forged("key-of-another-kind", signed_token("RS256"), Check.ALGORITHM, "alg", "ES256"),
    Forged("pss-as-pkcs1", signed_token("PS256"), Check.ALGORITHM, "alg", "RS256"),
    Forged("key-of-an-attacker", signed_token("RS256", "attacker", kid="k1"), Check.SIGNATURE, "", "RS256"),
    Forged(
        "embedded-key",
        signed_token("RS256", "attacker", kid="k1", jwk=_attacker_jwk()),
        Check.HEADER,
        "jwk",
        "RS256",
    ),
    *(
        Forged(f"member-{name}-{value!r:.12}", hmac_token(head(**{name: value})), Check.HEADER, name)
        for name, value in MEMBERS
    ),
    Forged("typ-logout", hmac_token(head(typ="logout+jwt")), Check.HEADER, "typ"),
    Forged("typ-dpop", hmac_token(head(typ="dpop+jwt")), Check.HEADER, "typ"),
    Forged("typ-number", hmac_token(head(typ=1)), Check.HEADER, "typ"),
    Forged("kid-foreign", signed_token("RS256", "k2"), Check.KEY, "kid", "RS256"),
    Forged("kid-path", hmac_token(head(kid="../../../../dev/null"), secret=b""), Check.KEY, "kid"),
    Forged("kid-path-with-the-right-secret", hmac_token(head(kid="../../etc/passwd")), Check.KEY, "kid"),
    Forged("kid-sql", hmac_token(head(kid="x' UNION SELECT 'key';--")), Check.KEY, "kid"),
    Forged("kid-url", hmac_token(head(kid="https://evil.example/k")), Check.KEY, "kid"),
    Forged("kid-empty", hmac_token(head(kid="")), Check.KEY, "kid"),
    Forged("kid-number", hmac_token(head(kid=1)), Check.HEADER, "kid"),
    Forged("kid-null", hmac_token(head(kid=None)), Check.HEADER, "kid"),
    Forged("kid-of-another-algorithm", hmac_token(head("PS256", kid="es")), Check.KEY, "alg", "PS256"),
    Forged("huge", hmac_token(body=claims(x="x" * 8192)), Check.SIZE),
    Forged("huge-dots", "." * 8193, Check.SIZE),
    Forged("nested-arrays", _raw(HEADER, encode(b"[" * 5000)), Check.CLAIMS),
    Forged("nested-objects", _raw(HEADER, encode(b'{"a":' * 1000 + b"1" + b"}" * 1000)), *_NESTED_CLAIMS),
    Forged("nested-header", _raw(encode(b'{"alg":' + b"[" * 1500 + b"]" * 1500 + b"}"), CLAIMS), *_NESTED_HEADER),
    Forged("nested-token", _raw(HEADER, encode(TOKEN.encode("ascii"))), Check.CLAIMS),
    Forged("five-parts", f"{HEADER}.{CLAIMS}.{SIGNATURE}.x.y", Check.FORM),
    Forged("five-empty-parts", "....", Check.FORM),
    Forged("four-parts", f"{TOKEN}.x", Check.FORM),
    Forged("two-parts", f"{HEADER}.{CLAIMS}", Check.FORM),
    Forged("one-dot", ".", Check.FORM),
    Forged("trailing-dot", f"{TOKEN}.", Check.FORM),
    Forged("leading-dot", f".{TOKEN}", Check.FORM),
    Forged("empty-header", f".{CLAIMS}.{SIGNATURE}", Check.HEADER),
    Forged("empty-claims", _raw(HEADER, ""), Check.CLAIMS),
    Forged("empty-signature", f"{HEADER}.{CLAIMS}.", Check.SIGNATURE),
    Forged("cut-signature", TOKEN[:-3], Check.SIGNATURE),
    Forged("signature-of-other-claims", f"{HEADER}.{encode(claims(sub='1'))}.{SIGNATURE}", Check.SIGNATURE),
    Forged("signature-without-canonical-end", _swap_last_bits(TOKEN), Check.FORM),
    Forged("padding", _raw(HEADER, CLAIMS + PADDED), Check.FORM),
    Forged("padded-signature", TOKEN + "=", Check.FORM),
    Forged(
        "standard-alphabet", _raw(HEADER, encode(claims(x="???>>>~~~")).replace("_", "/").replace("-", "+")), Check.FORM
    ),
    Forged("space", f"{TOKEN} ", Check.FORM),
    Forged("line-end", f"{TOKEN}\n", Check.FORM),
    Forged("line-end-in-claims", _raw(HEADER, CLAIMS[:8] + "\n" + CLAIMS[8:]), Check.FORM),
    Forged("quotes", f'"{TOKEN}"', Check.FORM),
    Forged("null-character", f"{TOKEN}\0", Check.FORM),
    Forged("full-width-letters", "\uff45" + TOKEN[1:], Check.FORM),
    Forged(
        "not-utf-8", hmac_token(body=json.dumps(claims()).encode("utf-8").replace(b"42", b"\xff\xfe")), Check.CLAIMS
    ),
    Forged(
        "overlong-utf-8",
        hmac_token(body=json.dumps(claims()).encode("utf-8").replace(b"42", b"\xc0\xaf")),
        Check.CLAIMS,
    ),
    Forged("utf-16", hmac_token(body=json.dumps(claims()).encode("utf-16")), Check.CLAIMS),
    Forged("byte-order-mark", hmac_token(body=b"\xef\xbb\xbf" + json.dumps(claims()).encode("utf-8")), Check.CLAIMS),
    Forged("lone-surrogate", hmac_token(body=json.dumps(claims(sub="\ud800")).encode("utf-8")), Check.CLAIMS),
    Forged("header-not-utf-8", hmac_token(b'{"alg":"HS256","x":"\xff"}'), Check.HEADER),
    Forged("header-list", hmac_token(b"[]"), Check.HEADER),
    Forged("claims-list", hmac_token(body=b"[]"), Check.CLAIMS),
    Forged("claims-string", hmac_token(body=b'"{}"'), Check.CLAIMS),
    Forged("claims-null", hmac_token(body=b"null"), Check.CLAIMS),
    Forged("two-values", hmac_token(body=json.dumps(claims()).encode("utf-8") + b"{}"), Check.CLAIMS),
    Forged("comment", hmac_token(body=b"/**/" + json.dumps(claims()).encode("utf-8")), Check.CLAIMS),
    Forged("duplicate-claim", hmac_token(body=_duplicate('"sub":"1"')), Check.CLAIMS),
    Forged("duplicate-escaped-claim", hmac_token(body=_duplicate('"s\\u0075b":"1"')), Check.CLAIMS),
    Forged("duplicate-exp", hmac_token(body=_duplicate(f'"exp":{NOW - 3600}')), Check.CLAIMS),
    Forged("duplicate-in-grant", hmac_token(body=_duplicate('"x":{"deny":[],"deny":["a"]}')), Check.CLAIMS),
    Forged("duplicate-header-member", hmac_token(b'{"alg":"none","alg":"HS256"}'), Check.HEADER),
    Forged("iss-missing", hmac_token(body=claims(iss=...)), Check.ISSUER, "iss"),
    Forged("iss-other", hmac_token(body=claims(iss="https://evil.example")), Check.ISSUER, "iss"),
    Forged("iss-prefix", hmac_token(body=claims(iss="https://login.example")), Check.ISSUER, "iss"),
    Forged("iss-slash", hmac_token(body=claims(iss="https://login.example.org/")), Check.ISSUER, "iss"),
    Forged("iss-list", hmac_token(body=claims(iss=["https://login.example.org"])), Check.ISSUER, "iss"),
    Forged("iss-null", hmac_token(body=claims(iss=None)), Check.ISSUER, "iss"),
    Forged("aud-missing", hmac_token(body=claims(aud=...)), Check.AUDIENCE, "aud"),
    Forged("aud-other", hmac_token(body=claims(aud="shop")), Check.AUDIENCE, "aud"),
    Forged("aud-part", hmac_token(body=claims(aud="push")), Check.AUDIENCE, "aud"),
    Forged("aud-others", hmac_token(body=claims(aud=["a", "b"])), Check.AUDIENCE, "aud"),
    Forged("aud-empty", hmac_token(body=claims(aud=[])), Check.AUDIENCE, "aud"),
    Forged("aud-object", hmac_token(body=claims(aud={"pushd": 1})), Check.AUDIENCE, "aud"),
    Forged("aud-mixed", hmac_token(body=claims(aud=["pushd", 1])), Check.AUDIENCE, "aud"),
    Forged("aud-true", hmac_token(body=claims(aud=True)), Check.AUDIENCE, "aud"),
    Forged("sub-missing", hmac_token(body=claims(sub=...)), Check.SUBJECT, "sub"),
    Forged("sub-empty", hmac_token(body=claims(sub="")), Check.SUBJECT, "sub"),
    Forged("sub-too-long", hmac_token(body=claims(sub="ü" * 128)), Check.SUBJECT, "sub"),
    Forged("sub-number", hmac_token(body=claims(sub=42)), Check.SUBJECT, "sub"),
    Forged("sub-null", hmac_token(body=claims(sub=None)), Check.SUBJECT, "sub"),
    Forged("jti-number", hmac_token(body=claims(jti=7)), Check.TOKEN_ID, "jti"),
    Forged("jti-null", hmac_token(body=claims(jti=None)), Check.TOKEN_ID, "jti"),
    Forged("exp-missing", hmac_token(body=claims(exp=...)), Check.LIFETIME, "exp"),
    Forged("exp-null", hmac_token(body=claims(exp=None)), Check.LIFETIME, "exp"),
    Forged("exp-string", hmac_token(body=claims(exp=str(NOW + 60))), Check.LIFETIME, "exp"),
    Forged("exp-float", hmac_token(body=claims(exp=NOW + 60.5)), Check.LIFETIME, "exp"),
    Forged("exp-true", hmac_token(body=claims(exp=True)), Check.LIFETIME, "exp"),
    Forged("exp-list", hmac_token(body=claims(exp=[NOW + 60])), Check.LIFETIME, "exp"),
    Forged("exp-nan", hmac_token(body=claims(exp=float("nan"))), Check.CLAIMS),
    Forged("exp-infinity", hmac_token(body=claims(exp=float("inf"))), Check.CLAIMS),
    Forged("exp-out-of-range", hmac_token(body=_duplicate('"x":1e999')), Check.CLAIMS),
    Forged(
        "exp-with-exponent",
        hmac_token(body=json.dumps(claims(exp=0)).replace(": 0", ": 18e8").encode()),
        Check.LIFETIME,
        "exp",
    ),
    Forged("exp-in-milliseconds", hmac_token(body=claims(exp=1000 * NOW)), Check.LIFETIME, "exp"),
    Forged("exp-of-a-hundred-digits", hmac_token(body=claims(exp=10**100)), Check.LIFETIME, "exp"),
    Forged("exp-of-five-thousand-digits", hmac_token(body=_duplicate('"x":' + "9" * 5000)), Check.CLAIMS),
    Forged("lifetime-too-long", hmac_token(body=claims(exp=NOW + 86400)), Check.LIFETIME, "exp"),
    Forged("lifetime-too-long-without-iat", hmac_token(body=claims(iat=..., exp=NOW + 86401)), Check.LIFETIME, "exp"),
    Forged("nbf-in-the-future", hmac_token(body=claims(nbf=NOW + 11)), Check.NOT_BEFORE, "nbf"),
    Forged("nbf-string", hmac_token(body=claims(nbf="0")), Check.NOT_BEFORE, "nbf"),
    Forged("nbf-false", hmac_token(body=claims(nbf=False)), Check.NOT_BEFORE, "nbf"),
    Forged("iat-in-the-future", hmac_token(body=claims(iat=NOW + 11)), Check.ISSUED_AT, "iat"),
    Forged("iat-string", hmac_token(body=claims(iat="x")), Check.ISSUED_AT, "iat"),
    Forged("iat-null", hmac_token(body=claims(iat=None)), Check.ISSUED_AT, "iat"),
    Forged("grant-string", hmac_token(body=claims(pushd="*")), Check.GRANT, "pushd"),
    Forged("grant-null", hmac_token(body=claims(pushd=None)), Check.GRANT, "pushd"),
    Forged("grant-unknown-key", hmac_token(body=claims(pushd={"subscibe": ["a"]})), Check.GRANT, "pushd"),
    Forged("grant-bad-topic", hmac_token(body=claims(pushd={"subscribe": ["a/**/b"]})), Check.GRANT, "pushd"),
    Forged(
        "grant-deny-without-subject",
        hmac_token(body=claims(sub="a b", pushd={"deny": ["x/{sub}"]})),
        Check.GRANT,
        "pushd",
    ),
    Forged(
        "psychic-signature",
        signed_token("ES256").rpartition(".")[0] + "." + b64(bytes(64)),
        Check.SIGNATURE,
        "",
        "ES256",
    ),
    Forged(
        "short-ecdsa-signature",
        signed_token("ES256").rpartition(".")[0] + "." + b64(bytes(63)),
        Check.SIGNATURE,
        "",
        "ES256",
    ),
    Forged(
        "ed25519-small-order",
        signed_token("Ed25519").rpartition(".")[0] + "." + b64(b"\1" + bytes(63)),
        Check.SIGNATURE,
        "",
        "Ed25519",
    ),
    Forged(
        "rsa-zero-signature",
        signed_token("RS256").rpartition(".")[0] + "." + b64(bytes(256)),
        Check.SIGNATURE,
        "",
        "RS256",
    ),
]


def verifier_for(algorithm: str) -> JwtVerifier:
    """Return a verifier whose issuer accepts one algorithm; it also has a key for another one."""
    if algorithm != "PS256":
        return verifier(issuer(algorithm))
    es = ECKey.generate_key("P-256", {"kid": "es"})
    return verifier(issuer(algorithm, parse_key_set(jwks(private_key("PS256"), es))))


async def examine(case: Forged) -> Verdict:
    verdict = await verifier_for(case.algorithm).examine(case.token)
    assert verdict is not None
    return verdict


NOT_OF_FORGED_TOKENS = {Check.EXPIRY, Check.KNOWN, Check.REVOCATION, Check.METHOD, Check.PARAMETERS, Check.FIRST_USE}
"""The checks of other credentials, and those of genuine tokens."""


def test_there_are_enough():
    assert len(FORGED) >= 100
    assert len({case.name for case in FORGED}) == len(FORGED)
    assert {case.check for case in FORGED} == set(Check) - NOT_OF_FORGED_TOKENS


@pytest.mark.parametrize("case", FORGED, ids=lambda case: case.name)
@pytest_twisted.ensureDeferred
async def test_refused_for_the_reason(case):
    verdict = await examine(case)
    assert (verdict.check, verdict.claim) == (case.check, case.claim), verdict.refusal
    assert verdict.identity is None
    assert type(verdict.refusal) is TokenInvalid


@pytest.mark.parametrize("case", FORGED, ids=lambda case: case.name)
@pytest_twisted.ensureDeferred
async def test_raises_the_refusal_without_content_of_the_token(case):
    with pytest.raises(TokenInvalid) as raised:
        await verifier_for(case.algorithm).verify(case.token)
    refusal = raised.value
    assert (refusal.code, refusal.status, refusal.close) == ("token-invalid", 401, 4401)
    text = str(refusal)
    assert len(text) < 120
    for content in ("evil", "passwd", "UNION", "subscibe", "a/**/b", "42", str(NOW)[:6], SECRET.decode("ascii")):
        assert content not in text


@pytest_twisted.ensureDeferred
async def test_expired_only_if_everything_else_is_valid():
    late = {"iat": NOW - 7200, "exp": NOW - 3600}
    verdict = await verifier().examine(hmac_token(body=claims(**late)))
    assert verdict is not None
    assert (verdict.check, verdict.claim, type(verdict.refusal)) == (Check.EXPIRY, "exp", TokenExpired)
    with pytest.raises(TokenExpired) as raised:
        await verifier().verify(hmac_token(body=claims(**late)))
    assert (raised.value.code, raised.value.status, raised.value.close) == ("token-expired", 401, 4401)
    for changes in ({"aud": "x"}, {"sub": ""}, {"nbf": NOW + 99}, {"pushd": 1}, {"jti": 1}, {"iss": "x"}):
        with pytest.raises(TokenInvalid) as invalid:
            await verifier().verify(hmac_token(body=claims(**(late | changes))))
        assert type(invalid.value) is TokenInvalid
    with pytest.raises(TokenInvalid) as forged:
        await verifier().verify(hmac_token(body=claims(**late), secret=OTHER_SECRET))
    assert type(forged.value) is TokenInvalid


@given(st.data())
def test_no_change_of_a_token_is_accepted(data):
    algorithm, token = data.draw(st.sampled_from([("HS256", TOKEN), ("ES256", ES256_TOKEN)]))
    position = data.draw(st.integers(0, len(token)))
    removed = data.draw(st.integers(0, 3))
    added = data.draw(st.text(st.characters(codec="utf-8") | st.sampled_from(".=+/-_AQgw"), max_size=3))
    changed = token[:position] + added + token[position + removed :]
    if changed == token:
        return
    verdict = _result(verifier(issuer(algorithm)).examine(changed))
    assert verdict is None or type(verdict.refusal) is TokenInvalid


@given(st.text(max_size=200) | st.text('{}[]":,.eyJ', max_size=60))
def test_no_text_is_accepted_or_raises_another_exception(text):
    verdict = _result(verifier().examine(text))
    assert (verdict is None) == ("." not in text)
    assert verdict is None or type(verdict.refusal) is TokenInvalid


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_no_parts_raise_another_exception(head_bytes, body):
    assert type(_result(verifier().examine(hmac_token(head_bytes, body))).refusal) is TokenInvalid
    assert type(_result(verifier().examine(hmac_token(body=body))).refusal) is TokenInvalid


def _result(coroutine: Any) -> Any:
    """Return the result of a coroutine that waits for nothing."""
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    return stopped.value.value
