"""`/auth/revocations` and `DELETE /connections?sub=`: what is accepted, who may, what follows, and what is counted."""

import json
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from pushd.backends.memory import MemoryBackend
from tests.daemon_fixtures import Start
from tests.transports.client import Closed
from tests.transports.daemon import RunningDaemon, until
from tests.transports.http_client import Answer
from tests.transports.stream_client import LineStream

OPERATOR = {"Authorization": "Bearer operator"}
ALICE = {"Authorization": "Bearer alice"}


def table(name: str, grant: str) -> str:
    """Return the table of a token that is its name."""
    return f'[{name}]\nsha256 = "{sha256(name.encode()).hexdigest()}"\nsub = "{name}"\n{grant}\n'


@pytest.fixture
def tokens_file(tmp_path: Path) -> Path:
    """A file with the tokens of an operator and of two users."""
    user = 'subscribe = ["**"]\npublish = ["**"]\ntags = ["mobile"]'
    file = tmp_path / "tokens.toml"
    file.write_text(
        table("operator", 'operate = ["revoke", "kick", "metrics"]') + table("alice", user) + table("bob", user)
    )
    file.chmod(0o600)
    return file


async def revoke(daemon: RunningDaemon, headers: dict[str, str] = OPERATOR, **body: object) -> Answer:
    """Revoke."""
    return await daemon.request("POST", "/auth/revocations", json.dumps(body).encode(), headers)


async def test_revocation_is_answered_listed_and_counted(start_daemon: Start, tokens_file: Path) -> None:
    daemon = await start_daemon({"auth.tokens_file": tokens_file})
    now = time.time()
    answer = await revoke(daemon, sub="alice", reason="left")
    assert (answer.status, answer.headers["content-type"]) == (201, "application/json")
    kept = answer.json
    assert kept | {"before": 0, "until": 0, "created": 0} == {
        "sub": "alice",
        "before": 0,
        "until": 0,
        "created": 0,
        "reason": "left",
    }
    assert now < kept["before"] <= now + 2
    assert now + 86410 <= kept["until"] <= now + 86412
    assert (await revoke(daemon, tag="x/y", before=5)).json["before"] == 5
    assert (await revoke(daemon, jti="1")).json["jti"] == "1"
    listed = await daemon.request("GET", "/auth/revocations", headers=OPERATOR)
    assert [next(iter(each.items())) for each in listed.json] == [("jti", "1"), ("sub", "alice"), ("tag", "x/y")]
    page = await daemon.request("GET", "/auth/revocations?after=sub:alice&limit=1", headers=OPERATOR)
    assert page.json == [listed.json[2]]
    metrics = (await daemon.request("GET", "/metrics", headers=OPERATOR)).body.decode()
    for line in ('pushd_revoked_total{kind="sub"} 1.0', 'pushd_revoked_total{kind="jti"} 1.0', "pushd_revocations 3.0"):
        assert f"\n{line}\n" in metrics
    assert "alice" not in metrics


async def test_revoked_token_and_its_connections_are_refused(start_daemon: Start, tokens_file: Path) -> None:
    daemon = await start_daemon({"auth.tokens_file": tokens_file})
    streams = [LineStream(daemon), LineStream(daemon)]
    for stream, name in zip(streams, ("alice", "bob"), strict=True):
        await stream.ask("/stream/a", {"Authorization": f"Bearer {name}"})
    await revoke(daemon, sub="alice")
    assert isinstance(await streams[0].next(), Closed)
    refused = await daemon.request("POST", "/pub/a", b"x", ALICE)
    assert (refused.status, refused.json["error"]["code"]) == (401, "token-revoked")
    assert refused.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert len(daemon.subscribers("a")) == 1
    await revoke(daemon, tag="mobile")
    assert isinstance(await streams[1].next(), Closed)
    explained = await daemon.request(
        "POST", "/auth/explain", b'{"token":"alice","action":"publish","topic":"a"}', OPERATOR
    )
    assert explained.status == 403


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("{}", "bad-parameter"),
        ('{"sub":"a","tag":"b"}', "bad-parameter"),
        ('{"sub":""}', "bad-parameter"),
        ('{"jti":"' + "x" * 1025 + '"}', "bad-parameter"),
        ('{"sub":"a","before":-1}', "bad-parameter"),
        ('{"sub":"a","before":99999999999}', "bad-parameter"),
        ('{"sub":"a","reason":"a\\nb"}', "bad-parameter"),
        ('{"sub":"a","reason":"' + "é" * 128 + '"}', "bad-parameter"),
        ('{"sub":"a","before":"now"}', "bad-json"),
        ('{"sub":"a","before":1.5}', "bad-json"),
        ('{"sub":7}', "bad-json"),
        ('{"sub":"a","until":1}', "bad-json"),
        ('{"sub":"\\ud800"}', "bad-json"),
        ("", "bad-json"),
        ("[]", "bad-json"),
    ],
)
async def test_invalid_revocation_is_refused(start_daemon: Start, tokens_file: Path, body: str, code: str) -> None:
    daemon = await start_daemon({"auth.tokens_file": tokens_file})
    answer = await daemon.request("POST", "/auth/revocations", body.encode(), OPERATOR)
    assert (answer.status, answer.json["error"]["code"]) == (400, code)
    assert (await daemon.request("GET", "/auth/revocations", headers=OPERATOR)).json == []


@pytest.mark.parametrize("query", ["after=sub", "after=role:x", "limit=0", "limit=1001", "aftr=x"])
async def test_invalid_page_is_refused(start_daemon: Start, query: str) -> None:
    daemon = await start_daemon({})
    assert (await daemon.request("GET", f"/auth/revocations?{query}")).status == 400


async def test_rights_are_needed(start_daemon: Start, tokens_file: Path) -> None:
    daemon = await start_daemon({"auth.tokens_file": tokens_file})
    for method, path in (
        ("POST", "/auth/revocations"),
        ("GET", "/auth/revocations"),
        ("DELETE", "/connections?sub=bob"),
    ):
        body = b'{"sub":"bob"}' if method == "POST" else None
        answer = await daemon.request(method, path, body, ALICE)
        assert (answer.status, answer.json["error"]["code"]) == (403, "forbidden")
        assert (await daemon.request(method, path, body)).status == 401
    assert (await daemon.request("GET", "/auth/revocations", headers=OPERATOR)).json == []


@pytest.mark.parametrize("path", ["/history/a", "/poll/a?since=all", "/pull/a?since=all"])
async def test_answer_that_is_being_made_is_withheld(
    start_daemon: Start, tokens_file: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    daemon = await start_daemon({"auth.tokens_file": tokens_file})
    await daemon.request("POST", "/pub/a", b"s3cret", ALICE)
    gate, started, page = Deferred[None](), Deferred[None](), MemoryBackend.page

    async def delayed(*arguments: Any) -> Any:
        if not started.called:
            started.callback(None)
        await gate
        return await page(*arguments)

    monkeypatch.setattr(MemoryBackend, "page", delayed)
    answering = Deferred.fromCoroutine(daemon.request("GET", path, headers=ALICE))
    await started
    assert (await revoke(daemon, sub="alice")).status == 201
    gate.callback(None)
    answer = await answering
    assert (answer.status, answer.json["error"]["code"]) == (401, "token-revoked")
    assert b"s3cret" not in answer.body


async def test_number_of_revocations_is_bounded(
    start_daemon: Start, tokens_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pushd.hub.revocations.MAX_REVOCATIONS", 2)
    daemon = await start_daemon({"auth.tokens_file": tokens_file})
    for name in "ab":
        assert (await revoke(daemon, jti=name)).status == 201
    answer = await revoke(daemon, jti="c")
    assert (answer.status, answer.json["error"]["code"]) == (429, "too-many-revocations")
    assert (await revoke(daemon, jti="a", reason="again")).status == 201


async def test_connections_of_a_subject_are_closed(start_daemon: Start, tokens_file: Path) -> None:
    daemon = await start_daemon({"auth.tokens_file": tokens_file})
    streams = [LineStream(daemon) for _ in range(3)]
    for stream, name in zip(streams, ("alice", "alice", "bob"), strict=True):
        await stream.ask("/stream/a", {"Authorization": f"Bearer {name}"})
    answer = await daemon.request("DELETE", "/connections?sub=alice", headers=OPERATOR)
    assert (answer.status, answer.json) == (200, {"sub": "alice", "closed": 2})
    await until(lambda: len(daemon.subscribers("a")) == 1, "closed")
    assert (await daemon.request("DELETE", "/connections?sub=alice", headers=OPERATOR)).json["closed"] == 0
    for query in ("sub=", "sbu=alice", "sub=a&x=1"):
        assert (await daemon.request("DELETE", f"/connections?{query}", headers=OPERATOR)).status == 400
    assert (await daemon.request("DELETE", "/connections/x?sub=alice", headers=OPERATOR)).status == 404


async def test_revocations_are_on_the_listener_of_operators(start_daemon: Start, tmp_path: Path) -> None:
    daemon = await start_daemon({"http.admin_listen": "tcp:0:interface=127.0.0.1"})
    assert (await daemon.request("GET", "/auth/revocations")).status == 404
