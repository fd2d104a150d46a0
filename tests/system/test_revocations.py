"""Revocations of daemons: over a restart with each backend, and of a node that does not reach its backend."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from tests.backends.redis_server import RedisServer
from tests.daemon.real import Daemon, eventually

pytestmark = pytest.mark.system

SECONDS = 30.0
BLIND = ["revocations of tokens are not known, since the backend is not reached: tokens are refused"]
OPERATOR, ALICE = {"Authorization": "Bearer operator"}, {"Authorization": "Bearer alice"}


def write_config(folder: Path, **auth: str) -> str:
    """Write a configuration with two tokens, and return its path."""
    names = {"operator": 'operate = ["*"]', "alice": 'publish = ["**"]\nsubscribe = ["**"]'}
    tables = [f'[{n[:2]}]\nsha256 = "{sha256(n.encode()).hexdigest()}"\nsub = "{n}"\n{g}\n' for n, g in names.items()]
    tokens = folder / "tokens.toml"
    tokens.write_text("\n".join(tables))
    tokens.chmod(0o600)
    settings = {"tokens_file": str(tokens)} | auth
    config = folder / "pushd.toml"
    config.write_text("[auth]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items()))
    return str(config)


def status(daemon: Daemon, headers: dict[str, str]) -> tuple[int, str]:
    """Publish; return the status and the error code."""
    answer = daemon.request("POST", "/pub/a", headers, b"x")
    return answer.status, json.loads(answer.body).get("error", {}).get("code", "")


@pytest.mark.parametrize("backend", ["memory", "sqlite", "redis"])
def test_revocation_outlasts_a_restart(tmp_path: Path, backend: str) -> None:
    redis = RedisServer(tmp_path / "redis").start() if backend == "redis" else None
    auth = {"revocations_file": str(tmp_path / "revocations")} if backend == "memory" else {}
    options = {
        "memory": (),
        "sqlite": ("--data-dir", str(tmp_path / "data")),
        "redis": ("--redis", redis.url if redis else ""),
    }[backend]
    try:
        for number in range(2):
            daemon = Daemon(tmp_path, "--config", write_config(tmp_path, **auth), *options)
            try:
                ready = lambda node=daemon: node.request("GET", "/health/ready").status == 200  # noqa: E731
                assert eventually(ready, SECONDS), daemon.log
                if number == 0:
                    assert status(daemon, ALICE) == (202, "")
                    body = b'{"sub":"alice","reason":"lost"}'
                    assert daemon.request("POST", "/auth/revocations", OPERATOR, body).status == 201
                assert status(daemon, ALICE) == (401, "token-revoked")
                (kept,) = json.loads(daemon.request("GET", "/auth/revocations", OPERATOR).body)
                assert (kept["sub"], kept["reason"]) == ("alice", "lost")
                daemon.assert_healthy()
                assert "alice" not in daemon.log
                assert ("Static tokens al are revoked until unix time" in daemon.log) is (number == 0)
            finally:
                daemon.stop()
    finally:
        if redis is not None:
            redis.kill()


def test_node_without_its_backend_refuses_tokens_and_says_so(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path / "redis").start()
    daemon = Daemon(tmp_path, "--config", write_config(tmp_path, blind_seconds="2s"), "--redis", redis.url)
    try:
        assert eventually(lambda: status(daemon, ALICE) == (202, ""), SECONDS)
        redis.kill()
        # A request that needs Redis before the node is blind may wait for it as long as a client of this test.
        assert eventually(
            lambda: json.loads(daemon.request("GET", "/health/ready").body).get("degraded") == BLIND, SECONDS
        )
        assert daemon.request("GET", "/stream/a", ALICE).status == 503
        assert daemon.request("GET", "/connections", OPERATOR).status == 503
        assert daemon.request("GET", "/metrics", OPERATOR).status == 200
        assert daemon.request("GET", "/health/live").status == 200
        assert status(daemon, {"Authorization": "Bearer forged"}) == (401, "token-invalid")
        redis.start()
        assert eventually(lambda: status(daemon, ALICE) == (202, ""), SECONDS)
        assert eventually(lambda: json.loads(daemon.request("GET", "/health/ready").body) == {"ready": True}, SECONDS)
    finally:
        daemon.stop()
        redis.kill()
