"""Explanations: the check, the claim and the pattern that decided, for each kind of credential."""

from pathlib import Path
from typing import Any

import pytest

from pushd.auth.authenticator import NO_AUTHENTICATION, Authenticator
from pushd.auth.explanation import Explanation, Question, explain
from pushd.auth.static_tokens import StaticTokens
from pushd.auth.token_checks import Check
from pushd.core.errors import BadParameter, BadTopic
from pushd.core.grant import ACTIONS, OPERATIONS, Grant
from tests.auth.jwt_issuer import NOW, claims, hmac_token, issuer, verifier
from tests.auth.test_authenticator import now
from tests.auth.test_jwt import NoKeys

TOKENS = """[phone]
sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
sub = "alice"
subscribe = ["users/{sub}/**", "news/*"]
deny = ["users/*/secret"]
operate = ["kick"]
"""
"""The token is ``abc``."""
ANONYMOUS = Grant.parse({"subscribe": ["public/**"]}, None, where="test")


@pytest.fixture
def authenticator(tmp_path: Path) -> Authenticator:
    """One with a static token, an issuer of JSON Web Tokens, and one whose claims are mapped."""
    file = tmp_path / "tokens.toml"
    file.write_text(TOKENS)
    file.chmod(0o600)
    mapped = issuer(name="mapped", iss="https://mapped", claims_map={"subscribe": "mercure.subscribe"})
    keyless = issuer(name="keyless", iss="https://keyless", keys=NoKeys())
    return Authenticator(
        [StaticTokens.from_file(file), verifier(issuer(), mapped, keyless)], lambda: float(NOW), ANONYMOUS
    )


def asked(authenticator: Authenticator, token: str | None, action: str, topic: str) -> Explanation:
    """Return the explanation of an action on a topic."""
    return now(explain(authenticator, token, Question.parse(action, topic)))


def jwt(**changes: object) -> str:
    """Return a genuine token."""
    return hmac_token(body=claims(**changes))


MERCURE = jwt(iss="https://mapped", mercure={"subscribe": ["a/*"]})


@pytest.mark.parametrize(
    ("token", "action", "topic", "decision"),
    [
        ("abc", "subscribe", "users/alice/**", (False, "forbidden", "deny", "deny", "users/*/secret")),
        ("abc", "subscribe", "users/alice/inbox", (True, None, "allow", "subscribe", "users/alice/**")),
        ("abc", "history", "news/x", (True, None, "allow", "subscribe", "news/*")),
        ("abc", "publish", "news/x", (False, "forbidden", "allow", "publish", None)),
        ("abc", "operate", "kick", (True, None, "operate", "operate", "kick")),
        ("abc", "operate", "metrics", (False, "forbidden", "operate", "operate", None)),
        (None, "subscribe", "public/a", (True, None, "allow", "auth.anonymous.subscribe", "public/**")),
        (None, "publish", "public/a", (False, "token-missing", "allow", "auth.anonymous.publish", None)),
        (jwt(), "publish", "chat/1", (True, None, "allow", "pushd.publish", "chat/*")),
        (jwt(), "subscribe", "users/43/a", (False, "forbidden", "allow", "pushd.subscribe", None)),
        (MERCURE, "history", "a/b", (True, None, "allow", "mercure.subscribe", "a/*")),
        (MERCURE, "publish", "a/b", (False, "forbidden", "allow", None, None)),
        ("nobody", "subscribe", "a", (False, "token-invalid", "known", None, None)),
        ("", "subscribe", "a", (False, "token-invalid", "known", None, None)),
        ("x" * 8193, "subscribe", "a", (False, "token-invalid", "size", None, None)),
        ("a.b", "subscribe", "a", (False, "token-invalid", "form", None, None)),
        (jwt(exp=NOW - 60), "subscribe", "a", (False, "token-expired", "expiry", "exp", None)),
        (jwt(aud="other"), "subscribe", "a", (False, "token-invalid", "audience", "aud", None)),
        (jwt(pushd={"subscribe": "x"}), "subscribe", "a", (False, "token-invalid", "grant", "pushd", None)),
        (jwt(iss="https://keyless"), "subscribe", "a", (False, "unavailable", "key", None, None)),
    ],
)  # fmt: skip
def test_check_claim_and_pattern_are_named(
    authenticator: Authenticator, token: str | None, action: str, topic: str, decision: tuple[Any, ...]
) -> None:
    explanation = asked(authenticator, token, action, topic)
    shown = (explanation.allow, explanation.code, explanation.check, explanation.claim, explanation.pattern)
    assert shown == decision
    assert explanation.message


def test_forged_signature_is_named_without_the_token(authenticator: Authenticator) -> None:
    token = jwt()[:-4] + "AAAA"
    explanation = asked(authenticator, token, "subscribe", "a")
    assert (explanation.check, explanation.code, explanation.issuer) == (Check.SIGNATURE, "token-invalid", "shop")
    assert not any(part in repr(explanation) for part in token.split("."))


def test_messages_are_sentences_with_what_would_be_accepted(authenticator: Authenticator) -> None:
    assert asked(authenticator, "abc", "subscribe", "news/**").message == (
        "action subscribe on topic news/** is not granted by subscribe; accepted: news/*"
    )
    assert asked(authenticator, "abc", "subscribe", "users/alice/*").message == (
        "action subscribe on topic users/alice/* has channels in common with users/*/secret in deny"
    )
    assert asked(authenticator, "abc", "subscribe", "news/x").message == (
        "action subscribe on topic news/x is allowed by news/* in subscribe"
    )
    assert asked(authenticator, MERCURE, "publish", "a").message == (
        "action publish on topic a is not granted: no claim is mapped to it"
    )
    quoted = asked(authenticator, jwt(pushd={"subscribe": ["a//b"]}), "subscribe", "a").message
    assert quoted.startswith("claim pushd is not a valid grant: claim pushd: subscribe: 'a//b' is not accepted")


def test_identity_of_an_accepted_token_is_named(authenticator: Authenticator) -> None:
    explanation = asked(authenticator, "abc", "publish", "a")
    assert (explanation.sub, explanation.issuer) == ("alice", "token:phone")
    assert (asked(authenticator, jwt(), "publish", "a").sub) == "42"
    assert asked(authenticator, jwt(exp=NOW - 60), "publish", "a").sub is None


def test_everything_is_allowed_where_authentication_is_off() -> None:
    for token in (None, "abc"):
        shown = asked(NO_AUTHENTICATION, token, "publish", "a")
        assert (shown.allow, shown.check) == (True, "off")
        assert shown.code is shown.claim is shown.pattern is None


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_is_known(action: str) -> None:
    assert Question.parse(action, "a/**").topic == "a/**"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_is_known(operation: str) -> None:
    assert Question.parse("operate", operation).topic == operation


def test_invalid_questions_are_refused() -> None:
    with pytest.raises(BadParameter, match="action must be one of subscribe, "):
        Question.parse("read", "a")
    with pytest.raises(BadParameter, match="must be one of metrics, "):
        Question.parse("operate", "a")
    with pytest.raises(BadTopic):
        Question.parse("publish", "a//b")
