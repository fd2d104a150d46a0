"""Questions and answers of callbacks."""

import json

import pytest

from pushd.auth.callback_question import Answer, InvalidAnswer, Question, parse_answer
from pushd.core.grant import Grant


def test_a_question_has_all_members() -> None:
    question = Question("publish", ("a", "b"), "caf\u00e9", b'{"exp":1}', "10.0.0.1", "id", "tcp", {"Cookie": "a=b"})
    assert json.loads(question.encode()) == {
        "action": "publish",
        "topics": ["a", "b"],
        "sub": "caf\u00e9",
        "claims": {"exp": 1},
        "address": "10.0.0.1",
        "connection": "id",
        "transport": "tcp",
        "headers": {"Cookie": "a=b"},
    }
    anonymous = json.loads(Question("connect", (), None, b"", "unix", None, "http").encode())
    assert [anonymous[key] for key in ("topics", "sub", "claims", "connection", "headers")] == [
        [],
        None,
        None,
        None,
        {},
    ]


def test_answers() -> None:
    assert parse_answer(b'{"allow":true}', "u") == Answer(True, None, 60.0, 14)
    assert parse_answer(b'{"allow":false,"ttl":0}', None)[:3] == (False, None, 0.0)
    answer = parse_answer(b'{"allow":true,"grant":{"subscribe":["users/{sub}"]},"ttl":86400}', "u")
    assert answer.grant == Grant.parse({"subscribe": ["users/{sub}"]}, "u", where="")
    assert answer.grant is not None
    assert answer.grant.may("subscribe", "users/u")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"true",
        b"{}",
        b'{"allow":1}',
        b'{"allow":"true"}',
        b'{"allow":null}',
        b'{"allow":true,"grants":{}}',
        b'{"allow":true,"grant":[]}',
        b'{"allow":true,"grant":{"subscribes":["a"]}}',
        b'{"allow":true,"grant":{"subscribe":"a"}}',
        b'{"allow":true,"grant":{"subscribe":["a//b"]}}',
        b'{"allow":true,"ttl":-1}',
        b'{"allow":true,"ttl":86401}',
        b'{"allow":true,"ttl":"60"}',
        b'{"allow":true,"ttl":NaN}',
        b'{"allow":true} x',
        b"\xff",
        b"[" * 60_000,
        b"<html>",
    ],
)
def test_answers_of_another_form(body: bytes) -> None:
    with pytest.raises(InvalidAnswer, match=r"^the answer is not of the expected form: ") as raised:
        parse_answer(body, None)
    assert len(str(raised.value)) <= 300
