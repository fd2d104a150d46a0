"""The verification of JSON Web Tokens: algorithms, identities, rotation of keys, isolation of issuers."""

import pytest
import pytest_twisted

from pushd.auth.compact_token import parse_token
from pushd.auth.jwt import FixedKeys
from pushd.auth.token_checks import Check
from pushd.auth.verification_keys import (
    ASYMMETRIC,
    SYMMETRIC,
    KeySet,
    parse_jwk,
    parse_key_set,
    parse_secret,
)
from pushd.core.errors import TokenExpired, TokenInvalid, Unavailable
from tests.auth.jwt_issuer import (
    GRANT,
    ISS,
    NOW,
    SECRET,
    claims,
    header,
    hmac_token,
    issuer,
    jwks,
    private_key,
    public_keys,
    signed_token,
    verifier,
)

VECTORS = [
    (  # RFC 7515, appendix A.3
        "ES256",
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        },
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0"
        "cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    ),
    (  # RFC 8037, appendix A.4
        "EdDSA",
        {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    ),
]


class NoKeys:
    """A source whose keys cannot be fetched."""

    async def key_set(self, key_id: str | None) -> KeySet:
        raise Unavailable("no keys")


@pytest.mark.parametrize("algorithm", [*SYMMETRIC, *ASYMMETRIC])
@pytest_twisted.ensureDeferred
async def test_every_algorithm_is_accepted(algorithm):
    identity = await verifier(issuer(algorithm)).verify(signed_token(algorithm))
    assert identity is not None
    assert (identity.subject, identity.issuer, identity.expires) == ("42", "shop", NOW + 3600)
    assert (identity.token_id, identity.tags) == ("t1", ("mobile",))
    assert identity.grant.may("subscribe", "users/42/**")
    assert not identity.grant.may("subscribe", "users/43/**")


@pytest.mark.parametrize("accepted", ["EdDSA", "Ed25519"])
@pytest.mark.parametrize("algorithm", ["EdDSA", "Ed25519"])
@pytest_twisted.ensureDeferred
async def test_both_names_of_ed25519(algorithm, accepted):
    assert await verifier(issuer(accepted, public_keys(algorithm))).verify(signed_token(algorithm))


@pytest.mark.parametrize(("algorithm", "jwk", "token"), VECTORS, ids=lambda value: str(value)[:8])
def test_signatures_of_the_standards(algorithm, jwk, token):
    signed, _, _ = token.rpartition(".")
    key = parse_jwk(jwk)
    signature = parse_token(hmac_token().rpartition(".")[0] + "." + token.rpartition(".")[2]).signature
    assert key.verify(algorithm, signed.encode("ascii"), signature)
    assert not key.verify(algorithm, signed.encode("ascii") + b"x", signature)


@pytest.mark.parametrize("token", ["", "abc", "pushd_0123456789", "eyJhbGciOiJIUzI1NiJ9"])
@pytest_twisted.ensureDeferred
async def test_other_credentials_are_not_examined(token):
    assert await verifier().verify(token) is None
    assert await verifier().examine(token) is None


ACCEPTED = [
    hmac_token(body=claims(iat=...)),
    hmac_token(body=claims(jti=...)),
    hmac_token(body=claims(aud=["other", "pushd"])),
    hmac_token(body=claims(nbf=NOW + 10, iat=NOW + 10)),
    hmac_token(body=claims(iat=NOW - 3600, exp=NOW - 9)),
    hmac_token(body=claims(iat=NOW, exp=NOW + 86400)),
    hmac_token(body=claims(iat=..., exp=NOW + 86400)),
    hmac_token(body=claims(unknown={"a": [1, 2.5, None]}, sub="jürgen")),
    hmac_token(header(typ=...)),
    hmac_token(header(typ="at+jwt")),
    hmac_token(header(typ="application/AT+JWT")),
    hmac_token(header(kid="k1", x5t="abc", custom={"a": 1})),
]


@pytest.mark.parametrize("token", ACCEPTED)
@pytest_twisted.ensureDeferred
async def test_accepted_variants(token):
    assert await verifier().verify(token)


@pytest.mark.parametrize(("now", "refusal"), [(NOW + 9.9, None), (NOW + 10, TokenExpired)])
@pytest_twisted.ensureDeferred
async def test_expiry_has_a_leeway(now, refusal):
    verdict = await verifier(now=now).examine(hmac_token(body=claims(exp=NOW)))
    assert verdict is not None
    assert type(verdict.refusal) is (refusal or type(None))


@pytest_twisted.ensureDeferred
async def test_a_token_without_a_grant_is_allowed_nothing():
    identity = await verifier().verify(hmac_token(body=claims(pushd=...)))
    assert identity is not None
    assert not identity.grant.may("subscribe", "a")


MAP = {"subscribe": "realm.channels", "publish": "https://example.org/publish", "tags": "groups", "quota": "q"}


@pytest_twisted.ensureDeferred
async def test_claims_are_mapped_to_the_grant():
    body = claims(
        pushd={"operate": ["*"]},
        realm={"channels": "a/* b"},
        groups=["staff"],
        **{"https://example.org/publish": ["c"], "q": {"connections": 2}},
    )
    identity = await verifier(issuer(claims_map=MAP)).verify(hmac_token(body=body))
    assert identity is not None
    assert identity.grant.may("subscribe", "a/x") and identity.grant.may("publish", "c")
    assert not identity.grant.operate
    assert identity.tags == ("staff",)
    assert identity.grant.quota.connections == 2


@pytest.mark.parametrize("realm", [{"channels": 1}, {"channels": [1]}, {"channels": {"a": 1}}])
@pytest_twisted.ensureDeferred
async def test_mapped_claims_of_another_type_are_refused(realm):
    verdict = await verifier(issuer(claims_map=MAP)).examine(hmac_token(body=claims(realm=realm)))
    assert verdict is not None
    assert verdict.check is Check.GRANT


@pytest_twisted.ensureDeferred
async def test_missing_mapped_claims_grant_nothing():
    realms: list[object] = [{}, [], "channels", None]
    for realm in realms:
        identity = await verifier(issuer(claims_map=MAP)).verify(hmac_token(body=claims(realm=realm)))
        assert identity is not None
        assert not identity.grant.may("subscribe", "a/x")


@pytest_twisted.ensureDeferred
async def test_keys_are_rotated():
    """Both keys are accepted while both are configured, then only the new one; with and without a key id."""
    old, new = signed_token("ES256", "k1"), signed_token("ES256", "k2")
    checked = verifier(issuer("ES256", public_keys("ES256", "k1")))
    assert await checked.verify(old)
    with pytest.raises(TokenInvalid):
        await checked.verify(new)
    checked.reconfigure([issuer("ES256", public_keys("ES256", "k1", "k2"))])
    assert await checked.verify(old) and await checked.verify(new)
    assert await checked.verify(signed_token("ES256", "k2", kid=...))
    checked.reconfigure([issuer("ES256", public_keys("ES256", "k2"))])
    with pytest.raises(TokenInvalid):
        await checked.verify(old)
    assert await checked.verify(new)


@pytest_twisted.ensureDeferred
async def test_secrets_are_rotated():
    other = b"the next secret of this application, also long"
    both = KeySet([parse_secret(SECRET + b"\n", "2026"), parse_secret(other, "2027")])
    checked = verifier(issuer(keys=both))
    for secret, key_id in ((SECRET, "2026"), (other, "2027")):
        assert await checked.verify(hmac_token(secret=secret))
        assert await checked.verify(hmac_token(header(kid=key_id), secret=secret))
    with pytest.raises(TokenInvalid):
        await checked.verify(hmac_token(header(kid="2027")))


@pytest_twisted.ensureDeferred
async def test_a_key_of_one_issuer_verifies_no_token_of_another():
    """Even if both use the same key id, as in GHSA-g6vg-wj8f-48cj."""
    mine = issuer("RS256", public_keys("RS256", "k1"), "mine", "https://mine.example")
    theirs_keys = parse_key_set(jwks(private_key("RS256", "attacker")))
    theirs = issuer("RS256", theirs_keys, "theirs", "https://theirs.example")
    checked = verifier(mine, theirs)
    body = claims(iss="https://mine.example")
    verdict = await checked.examine(signed_token("RS256", "k1", body))
    assert verdict is not None and verdict.identity is not None
    assert (verdict.issuer, verdict.identity.issuer) == ("mine", "mine")
    forged = await checked.examine(signed_token("RS256", "attacker", body, kid="k1"))
    assert forged is not None
    assert (forged.check, forged.issuer) == (Check.SIGNATURE, "mine")


@pytest_twisted.ensureDeferred
async def test_without_keys_the_token_is_not_called_invalid():
    """A client would discard a token that is refused with 401."""
    checked = verifier(issuer("RS256", NoKeys()))
    with pytest.raises(Unavailable) as raised:
        await checked.verify(signed_token("RS256"))
    assert (raised.value.status, raised.value.retry_after) == (503, 1)
    verdict = await checked.examine(signed_token("RS256"))
    assert verdict is not None
    assert (verdict.check, verdict.issuer) == (Check.KEY, "shop")


@pytest_twisted.ensureDeferred
async def test_many_keys_need_a_key_id():
    """A token must not cause as many verifications as an issuer has keys."""
    keys = public_keys("ES256", *(f"n{number}" for number in range(5)))
    verdict = await verifier(issuer("ES256", keys)).examine(signed_token("ES256", "n1", kid=...))
    assert verdict is not None
    assert (verdict.check, verdict.claim) == (Check.KEY, "kid")
    assert await verifier(issuer("ES256", keys)).verify(signed_token("ES256", "n1"))


@pytest_twisted.ensureDeferred
async def test_the_verdict_has_the_detail_for_the_operator():
    verdict = await verifier().examine(hmac_token(body=claims(pushd=GRANT | {"subscibe": []})))
    assert verdict is not None and verdict.refusal is not None
    assert "subscibe" in verdict.detail
    assert "subscibe" not in str(verdict.refusal)
    assert verdict.issuer == "shop"


@pytest_twisted.ensureDeferred
async def test_no_issuer_accepts_nothing():
    checked = verifier()
    checked.reconfigure([])
    verdict = await checked.examine(hmac_token())
    assert verdict is not None
    assert (verdict.check, verdict.issuer) == (Check.ISSUER, "")
    assert ISS not in str(verdict.refusal)


@pytest_twisted.ensureDeferred
async def test_fixed_keys_are_the_same_for_every_key_id():
    keys = public_keys("HS256")
    assert await FixedKeys(keys).key_set("x") is keys
