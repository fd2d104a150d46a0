"""Tokens that the client issues: PyJWT and the daemon verify them."""

import time
from datetime import timedelta
from typing import Any

import jwt
import pytest
import pytest_twisted
from pushd_client import issue_token

from tests.auth.jwt_issuer import ISS, SECRET, verifier

OPTIONS: dict[str, Any] = {"secret": SECRET, "sub": 42, "aud": "pushd", "iss": ISS}


def decoded(token: str) -> dict[str, Any]:
    """Return the claims that PyJWT has verified."""
    return jwt.decode(token, SECRET, ["HS256"], audience="pushd", issuer=ISS)


def test_claims():
    claims = decoded(issue_token(**OPTIONS, grant={"subscribe": ["users/{sub}/**"]}, ttl=timedelta(hours=2)))
    assert claims.pop("exp") - claims.pop("iat") == 7200
    assert len(claims.pop("jti")) == 16
    assert claims == {"iss": ISS, "aud": "pushd", "sub": "42", "pushd": {"subscribe": ["users/{sub}/**"]}}
    assert "pushd" not in decoded(issue_token(**OPTIONS))


def test_several_audiences_an_id_of_the_key_and_further_claims():
    token = issue_token(
        **OPTIONS | {"aud": ("pushd", "other"), "kid": "2026-11", "claims": {"name": "Jürgen", "jti": "1"}}
    )
    claims = decoded(token)
    assert (claims["aud"], claims["name"], claims["jti"]) == (["pushd", "other"], "Jürgen", "1")
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT", "kid": "2026-11"}


@pytest_twisted.ensureDeferred
async def test_daemon_accepts_it_and_its_grant():
    token = issue_token(**OPTIONS, grant={"subscribe": ["users/{sub}/**"]})
    identity = await verifier(now=time.time()).verify(token)
    assert identity is not None and identity.subject == "42" and identity.grant.may("subscribe", "users/42/inbox")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"secret": "short"}, "secret must have at least 32 bytes"),
        ({"ttl": 0}, r"ttl must be at least one second \(got 0\)"),
        ({"sub": ""}, "sub must not be empty"),
        ({"claims": {"x": float("nan")}}, "not JSON compliant"),
    ],
)
def test_what_the_daemon_would_not_accept_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        issue_token(**OPTIONS | options)
