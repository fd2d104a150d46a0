"""`POST /connections/ID/auth` replaces the token of a stream by that of the request."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted
from joserfc import jwt
from joserfc.jwk import OctKey

from tests.transports.daemon import RunningDaemon, until
from tests.transports.http_client import Answer, HttpClient, encode_request

SECRET = b"a secret of at least thirty-two bytes"


def bearer(subject: str, *topics: str, seconds: int = 3600) -> dict[str, str]:
    """Return the header with a token."""
    now = int(time.time())
    claims = {"iss": "shop", "aud": "pushd", "sub": subject, "iat": now, "exp": now + seconds}
    token = jwt.encode({"alg": "HS256"}, claims | {"pushd": {"subscribe": topics}}, OctKey.import_key(SECRET))
    return {"Authorization": f"Bearer {token}"}


@pytest_twisted.async_yield_fixture(params=[True, False], ids=["with a listener for operators", "without"])
async def daemon(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RunningDaemon]:
    """A daemon with an issuer. The address is on the public listener in any case."""
    (tmp_path / "secret").write_bytes(SECRET)
    file = tmp_path / "pushd.toml"
    file.write_text(
        '[auth.issuer.shop]\nissuer = "shop"\naudience = "pushd"\nalgorithms = ["HS256"]\n'
        f'secret_files = ["{tmp_path / "secret"}"]\n'
    )
    settings = {"http.admin_listen": "tcp:0:interface=127.0.0.1"} if request.param else {}
    daemon = await RunningDaemon(settings, file=file).start()
    yield daemon
    await daemon.stop()


async def stream(daemon: RunningDaemon) -> str:
    """Open a stream of alice to channel `a`, and return its id."""
    daemon.connect("http", HttpClient(encode_request("GET", "/sse/a", None, bearer("alice", "a"))))
    await until(lambda: bool(daemon.subscribers("a")), "the subscriber")
    return daemon.subscribers("a")[0].peer.id


async def renew(daemon: RunningDaemon, path: str, headers: dict[str, str] | None = None) -> Answer:
    """Send a renewal."""
    return await daemon.request("POST", path, b"", headers)


async def test_token_is_replaced(daemon: RunningDaemon) -> None:
    id = await stream(daemon)
    (subscriber,) = daemon.subscribers("a")
    before = subscriber.peer.identity
    answer = await renew(daemon, f"/connections/{id}/auth", bearer("alice", "a", "b", seconds=7200))
    after = subscriber.peer.identity
    assert before is not None
    assert after is not None
    assert answer.status == 200
    assert answer.json == {"connection": id, "expires": after.expires, "unsubscribed": []}
    assert (before.expires or 0) < (after.expires or 0)
    assert subscriber.peer.grant.may("subscribe", "b")


async def test_topics_that_the_new_token_does_not_cover_are_dropped(daemon: RunningDaemon) -> None:
    id = await stream(daemon)
    answer = await renew(daemon, f"/connections/{id}/auth", bearer("alice", "b"))
    assert answer.json["unsubscribed"] == ["a"]
    assert not daemon.subscribers("a")


@pytest.mark.parametrize(
    ("path", "headers", "code"),
    [
        ("/connections/{id}/auth", None, "token-missing"),
        ("/connections/{id}/auth", {"Authorization": "Bearer x.y.z"}, "token-invalid"),
        ("/connections/{id}/auth", bearer("bob", "a"), "unknown-connection"),
        ("/connections/nobody/auth", bearer("alice", "a"), "unknown-connection"),
        ("/connections/{id}", bearer("alice", "a"), "not-found"),
        ("/connections/{id}/auth/x", bearer("alice", "a"), "not-found"),
        ("/connections", bearer("alice", "a"), "not-found"),
        ("/connections/{id}/auth?x=1", bearer("alice", "a"), "bad-parameter"),
    ],
)
async def test_invalid_renewal_is_refused_and_changes_nothing(
    daemon: RunningDaemon, path: str, headers: dict[str, str] | None, code: str
) -> None:
    id = await stream(daemon)
    (subscriber,) = daemon.subscribers("a")
    before = subscriber.peer.identity
    answer = await renew(daemon, path.format(id=id), headers)
    assert answer.json["error"]["code"] == code
    assert subscriber.peer.identity is before
    assert daemon.subscribers("a") == [subscriber]
