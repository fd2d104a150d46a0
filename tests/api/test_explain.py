"""`POST /auth/explain` answers operators with the check, the claim and the pattern that decided."""

from hashlib import sha256

import pytest

from tests.daemon_fixtures import Start

BEARER = {"Authorization": "Bearer operator"}
KEYS = ["allow", "code", "check", "claim", "pattern", "message", "sub", "issuer"]


def table(name, token, grant):
    return f'[{name}]\nsha256 = "{sha256(token.encode()).hexdigest()}"\nsub = "{name}"\n{grant}\n'


@pytest.fixture
def tokens_file(tmp_path):
    """A file with the token of an operator, and of a user without the right."""
    file = tmp_path / "tokens.toml"
    file.write_text(
        table("ops", "operator", 'operate = ["explain"]') + table("user", "secret-word", 'publish = ["chat/*"]')
    )
    file.chmod(0o600)
    return file


async def explain(daemon, body, headers=BEARER):
    return await daemon.request("POST", "/auth/explain", body, headers)


async def test_the_decision_is_explained(start_daemon: Start, tokens_file):
    daemon = await start_daemon({"auth.tokens_file": tokens_file})
    answer = await explain(daemon, b'{"token":"secret-word","action":"publish","topic":"chat/1"}')
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers["cache-control"] == "private, no-store"
    assert list(answer.json) == KEYS
    assert (answer.json["allow"], answer.json["code"], answer.json["check"]) == (True, None, "allow")
    assert (answer.json["claim"], answer.json["pattern"]) == ("publish", "chat/*")
    answer = await explain(daemon, b'{"action":"publish","topic":"chat/1"}')
    assert (answer.json["allow"], answer.json["code"]) == (False, "token-missing")
    answer = await explain(daemon, b'{"token":null,"action":"operate","topic":"kick"}')
    assert (answer.json["check"], answer.json["claim"]) == ("operate", "auth.anonymous.operate")


async def test_the_right_is_needed(start_daemon: Start, tokens_file):
    daemon = await start_daemon({"auth.tokens_file": tokens_file})
    question = b'{"token":"operator","action":"publish","topic":"a"}'
    answer = await explain(daemon, question, {})
    assert (answer.status, answer.json["error"]["code"]) == (401, "token-missing")
    answer = await explain(daemon, question, {"Authorization": "Bearer secret-word"})
    assert (answer.status, answer.json["error"]["code"]) == (403, "forbidden")
    answer = await explain(daemon, b"not JSON", {})
    assert answer.status == 401


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "bad-json"),
        (b"[]", "bad-json"),
        (b'{"action":"publish"}', "bad-json"),
        (b'{"action":"publish","topic":1}', "bad-json"),
        (b'{"action":"publish","topic":"a","token":7}', "bad-json"),
        (b'{"action":"publish","topic":"a","secret-word":1}', "bad-json"),
        (b'{"action":"read","topic":"a"}', "bad-parameter"),
        (b'{"action":"operate","topic":"a"}', "bad-parameter"),
        (b'{"action":"publish","topic":"a//b"}', "bad-topic"),
    ],
)
async def test_bad_questions_are_refused(daemon, body, code):
    answer = await explain(daemon, body)
    assert (answer.status, answer.json["error"]["code"]) == (400, code)
    assert "secret" not in answer.json["error"]["message"]


async def test_everything_is_allowed_where_authentication_is_off(daemon):
    answer = await explain(daemon, b'{"token":"secret-word","action":"publish","topic":"a"}', {})
    assert (answer.json["allow"], answer.json["code"], answer.json["check"]) == (True, None, "off")


async def test_a_token_is_neither_logged_nor_returned(start_daemon: Start, tokens_file):
    daemon = await start_daemon({"auth.tokens_file": tokens_file, "log.access": "1"})
    for token in (b"secret-word", b"secret-words", b"secret.word.x", b"secret-" * 5000):
        answer = await explain(daemon, b'{"token":"' + token + b'","action":"publish","topic":"a"}')
        assert answer.status == 200
        assert b"secret-word" not in answer.body
        assert b"secret" not in answer.body
    assert "secret" not in "".join(daemon.log)


@pytest.mark.parametrize("path", ["/auth", "/auth/", "/auth/x", "/auth/explain/x"])
async def test_there_is_nothing_beside_it(daemon, path):
    answer = await daemon.request("POST", path, b'{"action":"publish","topic":"a"}')
    assert (answer.status, answer.json["error"]["code"]) == (404, "not-found")


async def test_other_methods_are_refused(daemon):
    answer = await daemon.request("GET", "/auth/explain")
    assert (answer.status, answer.headers["allow"]) == (405, "OPTIONS, POST")
