"""`POST /auth/explain` answers operators with the check, the claim and the pattern that decided."""

import json
import time
from hashlib import sha256

import pytest
from pushd_client import sign_url

from pushd.core.peer import DAEMON
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


SECRET = b"a key of signed URLs with at least 32 bytes"
PAST = int(time.time()) - 900


@pytest.fixture
def config(tmp_path, tokens_file):
    """A configuration file with a key of signed URLs."""
    (tmp_path / "web.key").write_bytes(SECRET)
    file = tmp_path / "pushd.toml"
    file.write_text(
        f'[auth]\ntokens_file = "{tokens_file}"\n[auth.anonymous]\nsubscribe = ["public"]\n'
        f'[auth.url_keys]\nweb = "{tmp_path}/web.key"\n'
    )
    return file


def signed(path, **options):
    return sign_url(path, ("web", SECRET), **options)


async def explain_url(daemon, url, **more):
    answer = await explain(daemon, json.dumps({"url": url, **more}).encode())
    assert (answer.status, list(answer.json)) == (200, KEYS)
    assert url.rpartition("sig=")[2] not in answer.body.decode()
    return tuple(answer.json[key] for key in ("allow", "code", "check", "claim", "pattern", "sub", "issuer"))


async def test_signed_url_is_explained(start_daemon: Start, config):
    daemon = await start_daemon({}, file=config)
    url = signed("/sse/a,b/*", sub="alice")
    allowed = True, None, "allow", "path", "a", "alice", "url:web"
    for given in (url, f"https://push.example.org{url}", f"{url}&lastEventId=x-1"):
        assert await explain_url(daemon, given) == allowed
    assert await explain_url(daemon, url, method="HEAD") == allowed
    assert await explain_url(daemon, f"http://x/push{url}", mount="/push/") == allowed
    assert await explain_url(daemon, url, action="history", topic="b/c") == (*allowed[:4], "b/*", *allowed[5:])
    refused = False, "forbidden", "allow", "path", None, "alice", "url:web"
    assert await explain_url(daemon, url, action="publish", topic="a") == refused
    assert await explain_url(daemon, signed("/metrics"), action="operate", topic="metrics") == (
        *(False, "forbidden", "operate", "path", None, None, "url:web"),
    )
    writing = signed("/pub/a", method="POST")
    assert (await explain_url(daemon, writing, method="PUT"))[:3] == (True, None, "allow")
    assert (await explain_url(daemon, writing))[1:4] == ("token-invalid", "signature", "sig")


@pytest.mark.parametrize(
    ("url", "decision"),
    [
        (signed("/sse/a") + "A", ("token-invalid", "signature", "sig")),
        (signed("/sse/a").replace("kid=web", "kid=other"), ("token-invalid", "key", "kid")),
        (signed("/sse/a", exp=PAST, until=PAST), ("token-expired", "expiry", "until")),
        (signed("/sse/a", exp=PAST, until=int(time.time()) + 900), ("token-expired", "first-use", "exp")),
        (f"/push{signed('/sse/a')}", ("token-invalid", "signature", "sig")),
        (signed("/channels"), ("forbidden", "allow", "path")),
        ("/sse/a?exp=5", ("token-missing", "allow", "auth.anonymous.subscribe")),
    ],
    ids=["signature", "key", "expired", "first use", "mount point", "operation", "unsigned"],
)
async def test_check_that_refuses_a_signed_url_is_named(start_daemon: Start, config, url, decision):
    daemon = await start_daemon({}, file=config)
    assert (await explain_url(daemon, url))[:4] == (False, *decision)


async def test_url_without_a_signature_is_that_of_a_peer_without_a_credential(start_daemon: Start, config):
    daemon = await start_daemon({}, file=config)
    assert (await explain_url(daemon, "/sse/public"))[:4] == (True, None, "allow", "auth.anonymous.subscribe")


async def test_revoked_subject_of_a_signed_url(start_daemon: Start, config):
    daemon = await start_daemon({}, file=config)
    url = signed("/sse/a", sub="alice")
    assert (await explain_url(daemon, url))[0]
    await daemon._service.hub.revocations.revoke(DAEMON, ("sub", "alice"))
    assert (await explain_url(daemon, url))[:4] == (False, "token-revoked", "revocation", "sub")


async def test_explaining_a_url_is_no_use_of_it(start_daemon: Start, config):
    daemon = await start_daemon({}, file=config)
    url = signed("/cursor/a")
    assert (await explain_url(daemon, url))[0]
    daemon._service._authentication.signed_urls._time = lambda: time.time() + 3000
    assert (await explain_url(daemon, url))[2] == "first-use"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"token": "x"}, "bad-parameter"),
        ({"action": "publish"}, "bad-json"),
        ({"topic": "a"}, "bad-json"),
        ({"mount": "/other"}, "bad-parameter"),
        ({"method": 5}, "bad-json"),
        ({"url": "http://[x/sse/a"}, "bad-parameter"),
        ({"url": ""}, "bad-parameter"),
    ],
)
async def test_bad_questions_about_urls_are_refused(start_daemon: Start, config, more, code):
    daemon = await start_daemon({}, file=config)
    answer = await explain(daemon, json.dumps({"url": signed("/sse/a"), **more}).encode())
    assert (answer.status, answer.json["error"]["code"]) == (400, code)
    assert "sig" not in answer.json["error"]["message"]


async def test_url_is_not_logged(start_daemon: Start, config):
    daemon = await start_daemon({"log.access": "1"}, file=config)
    url = signed("/sse/secret-word")
    await explain_url(daemon, url)
    assert "secret-word" not in "".join(daemon.log)
