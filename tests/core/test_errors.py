"""Refusals of credentials: statuses, close codes and challenges (RFC 6750, section 3)."""

import pytest

from pushd.core import errors
from pushd.core.errors import Forbidden, NotGranted, Refusal, TokenExpired, TokenInvalid, TokenMissing, TokenRevoked

REFUSALS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Refusal)]


@pytest.mark.parametrize(
    ("kind", "code", "challenge"),
    [
        (TokenMissing, "token-missing", "Bearer"),
        (TokenInvalid, "token-invalid", 'Bearer error="invalid_token"'),
        (TokenExpired, "token-expired", 'Bearer error="invalid_token"'),
        (TokenRevoked, "token-revoked", 'Bearer error="invalid_token"'),
    ],
)
def test_refused_credential_has_a_challenge(kind: type[Refusal], code: str, challenge: str) -> None:
    assert (kind.code, kind.status, kind.close, kind.challenge) == (code, 401, 4401, challenge)


def test_insufficient_grant_has_the_code_of_other_forbidden_requests_and_a_challenge() -> None:
    assert (NotGranted.code, NotGranted.status, NotGranted.close) == ("forbidden", 403, 4403)
    assert NotGranted.challenge == 'Bearer error="insufficient_scope"'
    assert Forbidden.challenge is None


def test_every_unauthorized_response_has_a_challenge() -> None:
    """RFC 9110, section 15.5.2."""
    assert {kind for kind in REFUSALS if kind.challenge} == {kind for kind in REFUSALS if kind.status == 401} | {
        NotGranted
    }
