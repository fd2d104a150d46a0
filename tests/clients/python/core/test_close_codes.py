"""The refusals that close codes stand for are those of the daemon."""

import pytest
from pushd_client import AuthenticationFailed, NotPermitted, TemporarilyRefused
from pushd_client.core.close_codes import refusal_of_close

from pushd.core import errors
from pushd.core.revocations import REVOKED

CLASSES = {4401: AuthenticationFailed, 4403: NotPermitted, 4429: TemporarilyRefused}
SENTENCES = [
    (errors.TokenRevoked, REVOKED),
    (errors.TokenRevoked, "key of the token has been removed"),
    (errors.TokenExpired, "token has expired"),
    (errors.TokenMissing, "nothing is allowed any more without a token"),
    (errors.TokenMissing, "the connection must be authenticated within 10 seconds"),
    (errors.TokenInvalid, "token must not exceed 8192 bytes"),
    (errors.TooManySubscriptions, "a connection must not subscribe to more than 5 topics"),
    (errors.TooManyConnections, "connection limit of 5 per address reached"),
    (errors.RateLimited, "too many messages: the limit is 5 per second"),
    (errors.Forbidden, "subscribe to 'a' is not allowed"),
]


@pytest.mark.parametrize(("kind", "sentence"), SENTENCES, ids=lambda each: str(getattr(each, "code", "")))
def test_code_is_that_of_the_refusal(kind: type[errors.Refusal], sentence: str) -> None:
    refused = refusal_of_close(kind.close, sentence)
    assert isinstance(refused, CLASSES[kind.close])
    assert (refused.code, refused.message) == (kind.code, sentence)


@pytest.mark.parametrize("code", [None, 1000, 1012, 1013, 4408, 4410])
def test_other_close_codes_are_no_refusal(code: int | None) -> None:
    assert refusal_of_close(code, "because") is None
