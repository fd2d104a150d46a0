"""Questions of the callback, and the answers to them, which the daemon can parse."""

import json
from dataclasses import asdict
from typing import Any

import pytest
from pushd_client import Decision, InvalidWebhook, Question
from pushd_client.callbacks import decide, verify_question

from pushd.auth.callback_question import parse_answer
from tests.clients.python.test_webhooks import SECRETS, signed

GRANT = {"subscribe": ["users/42/**"]}
QUESTION = Question("subscribe", ["chat/42"], headers={"cookie": "a=1; sessionid=x=y;flag; b = 2 "}, transport="sse")


def test_question_is_verified():
    body = json.dumps(asdict(QUESTION) | {"later": True}).encode()
    assert verify_question(signed(body=body), body, SECRETS[0]) == QUESTION
    with pytest.raises(InvalidWebhook):
        verify_question(signed(body=body), body, SECRETS[1])


def test_cookies_are_those_of_the_header():
    assert QUESTION.cookies == {"a": "1", "sessionid": "x=y", "b": "2"}
    assert Question("connect", []).cookies == {}


@pytest.mark.parametrize(
    ("answer", "members"),
    [
        (None, {"allow": False, "ttl": 5}),
        (False, {"allow": False, "ttl": 5}),
        (True, {"allow": True}),
        (GRANT, {"allow": True, "grant": GRANT}),
        ({}, {"allow": True, "grant": {}}),
        (Decision(True, GRANT, ttl=0), {"allow": True, "grant": GRANT, "ttl": 0}),
        (Decision(False, ttl=60), {"allow": False, "ttl": 60}),
    ],
)
def test_answers(answer: Any, members: dict[str, Any]):
    assert decide(answer).to_json() == members
    assert parse_answer(json.dumps(members).encode(), None).is_allowed == members["allow"]


def test_anything_else_is_no_answer():
    with pytest.raises(TypeError, match=r"answer must be a grant, a Decision, a bool or None \(got list\)"):
        decide(["users/**"])  # type: ignore[arg-type]
