"""The audit log of a real daemon: refusals on every transport, what operators do, reloads and rotation."""

import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from websockets.exceptions import ConnectionClosed

from tests.ctl.guarded_daemon import ISSUER, OPERATOR, SECRET, STRANGE, USER, GuardedDaemon, table
from tests.daemon.clients import SECONDS
from tests.daemon.real import ROOT, TWISTD, Daemon, eventually

pytestmark = pytest.mark.system

OPS = {"Authorization": f"Bearer {OPERATOR}"}
ALICE = {"Authorization": f"Bearer {USER}"}
STRANGER = {"Authorization": f"Bearer {STRANGE}"}


class Audited:
    """A daemon with an audit log."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "audit.log"
        self.guarded = GuardedDaemon(folder, "--log-audit", str(self.path))
        self.daemon: Daemon = self.guarded.process

    @property
    def records(self) -> list[dict[str, Any]]:
        """The lines, as objects."""
        return [json.loads(line) for line in self.path.read_text(encoding="ascii").splitlines()]

    def has(self, **fields: object) -> bool:
        """Return whether a line with these fields is written after a while."""
        return bool(eventually(lambda: any(fields.items() <= record.items() for record in self.records)))

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the lines with an event."""
        return [record for record in self.records if record["event"] == name]


@pytest.fixture
def audited(tmp_path: Path) -> Iterator[Audited]:
    audited = Audited(tmp_path)
    yield audited
    if audited.daemon.is_alive:
        audited.daemon.assert_healthy()
        audited.daemon.stop()
    text = audited.path.read_text(encoding="ascii")
    assert not [secret for secret in (OPERATOR, USER, STRANGE, SECRET) if secret in text]


def token(subject: str, *, lifetime: int = 60) -> str:
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": "pushd",
        "sub": subject,
        "exp": now + lifetime,
        "iat": now - 120,
        "jti": f"of-{subject}",
    }
    return jwt.encode({"alg": "HS256"}, claims | {"pushd": {"subscribe": ["a/**"]}}, OctKey.import_key(SECRET))


def close_code(daemon: Daemon, credential: str) -> int:
    headers = {"Authorization": f"Bearer {credential}"}
    with daemon.websocket("/ws", additional_headers=headers) as socket, pytest.raises(ConnectionClosed) as closed:
        socket.recv(SECONDS)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


def request_over_http(daemon: Daemon) -> None:
    assert daemon.request("GET", "/history/a/b", ALICE).status == 403
    assert daemon.request("GET", "/history/a/b", STRANGER).status == 401
    assert daemon.request("GET", "/history/a/b").status == 401
    assert daemon.request("GET", "/metrics", ALICE).status == 403
    batch = json.dumps({"channel": "a/b", "data": 1}).encode()
    assert daemon.request("POST", "/pub", ALICE | {"Content-Type": "application/x-ndjson"}, batch).status == 200


def subscribe_over_sse(daemon: Daemon) -> None:
    assert daemon.request("GET", "/sse/a/b", {"Authorization": f"Bearer {token('eve', lifetime=-60)}"}).status == 401
    headers = {"Authorization": f"Bearer {token('eva', lifetime=-60)}", "Last-Event-ID": "E-1"}
    assert b"event: expired" in daemon.request("GET", "/sse/a/b", headers).body


def use_websocket(daemon: Daemon) -> None:
    assert close_code(daemon, STRANGE) == 4401
    with daemon.websocket("/ws", additional_headers=ALICE) as socket:
        socket.send(json.dumps({"subscribe": "a/b"}))
        assert "error" in json.loads(socket.recv(SECONDS))
        socket.send(json.dumps({"publish": "a/c", "data": 1}))
        assert "error" in json.loads(socket.recv(SECONDS))


def use_lines(daemon: Daemon) -> None:
    with daemon.lines() as lines:
        assert lines.command(f"AUTH {STRANGE}".encode()).startswith(b"-ERR token-invalid")
        assert lines.command(f"AUTH {USER}".encode()).startswith(b"+OK")
        assert lines.command(b"SUB a/b").startswith(b"-ERR forbidden")
        assert lines.command(b"PUB a/c x").startswith(b"-ERR forbidden")


BY_ALICE = {"sub": "alice", "issuer": "token:alice", "address": "127.0.0.1", "count": 1}
REFUSED: dict[Callable[[Daemon], None], list[dict[str, object]]] = {
    request_over_http: [
        {"code": "forbidden", "action": "history", "topic": "a/b", "transport": "http", **BY_ALICE},
        {"code": "token-invalid", "action": None, "sub": None, "issuer": None, "transport": "http"},
        {"code": "token-missing", "action": "history", "topic": "a/b", "sub": None, "transport": "http"},
        {"code": "forbidden", "action": "operate", "topic": "metrics", "transport": "http", **BY_ALICE},
        {"code": "forbidden", "action": "publish", "topic": "a/b", "transport": "http", **BY_ALICE},
    ],
    subscribe_over_sse: [
        {"code": "token-expired", "sub": "eve", "transport": "http"},
        {"code": "token-expired", "sub": "eva", "transport": "sse"},
    ],
    use_websocket: [
        {"code": "token-invalid", "sub": None, "transport": "websocket"},
        {"code": "forbidden", "action": "subscribe", "topic": "a/b", "transport": "websocket", **BY_ALICE},
        {"code": "forbidden", "action": "publish", "topic": "a/c", "transport": "websocket", **BY_ALICE},
    ],
    use_lines: [
        {"code": "token-invalid", "sub": None, "transport": "tcp"},
        {"code": "forbidden", "action": "subscribe", "topic": "a/b", "transport": "tcp", **BY_ALICE},
        {"code": "forbidden", "action": "publish", "topic": "a/c", "transport": "tcp", **BY_ALICE},
    ],
}


@pytest.mark.parametrize("request_all", REFUSED, ids=lambda each: each.__name__)
def test_refusals_name_who_wanted_what(audited: Audited, request_all: Callable[[Daemon], None]) -> None:
    request_all(audited.daemon)
    for expected in REFUSED[request_all]:
        assert audited.has(event="refused", **expected), (expected, audited.records)
    assert len(audited.records) == len(REFUSED[request_all])


def test_flood_of_refusals_is_few_lines(audited: Audited) -> None:
    with audited.daemon.http() as http:
        for number in range(500):
            assert http.request("GET", f"/history/a/{number}", ALICE).status == 403
    audited.daemon.stop()
    assert [(record["topic"], record["count"]) for record in audited.records] == [("a/0", 1), (None, 499)]


def test_what_operators_do_is_recorded(audited: Audited) -> None:
    daemon = audited.daemon
    assert daemon.request("POST", "/pub/news/a", OPS, b"x").status == 202
    assert daemon.request("DELETE", "/pub/news/a", OPS).status == 200
    ops = {"sub": "ops", "issuer": "token:ops", "address": "127.0.0.1", "transport": "http"}
    assert audited.has(event="deleted", action="manage", topic="news/a", **ops)
    for id in ("bob", "ops"):
        assert daemon.request("PUT", f"/presence/news/b/{id}?ttl=60", OPS).status == 200
        assert daemon.request("DELETE", f"/presence/news/b/{id}", OPS).status == 200
    for method in ("PUT", "DELETE"):
        assert daemon.request(method, "/presence/news/b?presence=self", OPS).json()["id"] == "ops"
    assert daemon.request("DELETE", "/presence/news/b/bob", OPS).status == 404
    assert audited.has(event="removed", action="manage", topic="news/b", member="bob", **ops)
    with daemon.http() as first, daemon.http() as second, daemon.http() as third:
        id = first.open_stream("/sse/news/a", ALICE).headers["pushd-connection"]
        assert daemon.request("DELETE", f"/connections/{id}", OPS).status == 200
        kicked = {"kicked_sub": "alice", "kicked_transport": "sse", "kicked_connection": id}
        assert audited.has(event="kicked", action="kick", **kicked, **ops)
        second.open_stream("/sse/news/a", ALICE)
        assert daemon.request("DELETE", "/connections?sub=alice", OPS).status == 200
        assert audited.has(event="kicked", kicked_sub="alice", closed=1, **ops)
        third.open_stream("/sse/news/a", ALICE)
        body = json.dumps({"sub": "alice", "reason": "é, left"}).encode()
        assert daemon.request("POST", "/auth/revocations", OPS, body).status in (200, 201)
        assert audited.has(event="revoked", action="revoke", kind="sub", value="alice", reason="é, left", **ops)
        assert audited.has(event="refused", code="token-revoked", sub="alice", transport="sse")
    for refused in (
        "DELETE /pub/news/a",
        "DELETE /presence/news/b/bob",
        "DELETE /connections/x",
        "POST /auth/revocations",
    ):
        method, target = refused.split()
        assert daemon.request(method, target, {}, body if method == "POST" else b"").status == 401
    counts = {event: len(audited.events(event)) for event in ("deleted", "removed", "kicked", "revoked")}
    assert counts == {"deleted": 1, "removed": 1, "kicked": 2, "revoked": 1}


def test_renewals_are_recorded_and_first_tokens_are_not(audited: Audited) -> None:
    with audited.daemon.lines() as lines:
        for credential in (token("carol"), token("carol")):
            assert lines.command(f"AUTH {credential}".encode()).startswith(b"+OK")
    assert audited.has(event="renewed", sub="carol", issuer="shop", token="of-carol", transport="tcp")
    assert len(audited.records) == 1


def test_reload_records_changes_of_static_tokens(audited: Audited) -> None:
    audited.guarded.write_tokens(table("alice", USER, "subscribe = ['x']"), table("new", "pushd_new", ""))
    audited.guarded.reload()
    audited.guarded.write_tokens(table("new", "pushd_new", ""))
    audited.guarded.reload()
    assert [(record["event"], record["sub"], record["issuer"]) for record in audited.records] == [
        ("token-changed", "alice", "token:alice"),
        ("token-added", "new", "token:new"),
        ("token-removed", "alice", "token:alice"),
    ]


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP])
def test_signal_opens_the_renamed_file_anew(audited: Audited, number: signal.Signals) -> None:
    assert audited.daemon.request("GET", "/history/a", STRANGER).status == 401
    assert len(audited.records) == 1
    audited.path.rename(audited.path.with_suffix(".1"))
    os.kill(audited.daemon.pid, number)
    assert eventually(audited.path.exists)
    assert stat.S_IMODE(audited.path.stat().st_mode) == 0o600
    assert audited.daemon.request("GET", "/history/a", ALICE).status == 403
    assert audited.has(event="refused", code="forbidden")


def test_file_that_cannot_be_opened_stops_the_start(tmp_path: Path) -> None:
    options = [
        "--http",
        "none",
        "--tcp",
        "tcp:0:interface=127.0.0.1",
        "--log-audit",
        str(tmp_path / "none" / "audit.log"),
    ]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([*TWISTD, *options], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "option --log-audit: " in done.stderr and "No such file or directory" in done.stderr
    assert "Traceback" not in done.stderr
