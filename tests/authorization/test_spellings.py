"""Spellings of addresses: no one reads, or writes to, a channel that is not granted."""

import json
from pathlib import Path

import pytest
import pytest_twisted

from tests.authorization.credentials import SETUP, Credentials, bearer, only
from tests.daemon_fixtures import Start
from tests.transports.daemon import RunningDaemon
from tests.transports.http_client import HttpClient, encode_request
from tests.transports.line_client import TextLines

TOKEN = "token-of-the-spellings"
SECRET = b"only for bob"
RESOURCES = ("history", "poll", "pull", "sse", "stream", "mixed", "multipart", "longpoll", "sub", "pub", "cursor", "ws")
SPELLINGS = [
    "users/bob/x", "users%2Fbob%2Fx", "users%2fbob/x", "%75sers/bob/x", "users/%62ob/x", "users/alice/../bob/x",
    "users/alice/%2E%2E/bob/x", "users/alice/%2e./bob/x", "users/alice%2F..%2Fbob/x", "users/alice/%252e%252e/bob/x",
    "users%252Fbob/x", "./users/bob/x", "users/./bob/x", "users//bob/x", "/users/bob/x", "users/bob/x//",
    "users/*/x", "users/%2A/x", "users/%2a%2A", "users/**", "**", "*/bob/x", "*/*/*", "users/bob/*", "%2A%2A",
    "users/alice/x,users/bob/x", "users/alice/x%2Cusers/bob/x", "users/bob/x,users/alice/x", ",users/bob/x",
    "users/alice/x,", "users/bob/x%00", "users/alice/x%0Ausers/bob/x", "users/bob/x%20", "%20users/bob/x",
    "users/bob/x;v=1", "users/bob/x%3Fsince=all", "users/bob/x%23", "users/bob%5Cx", "users%5Cbob%5Cx",
    "users/BOB/x", "users/b%EF%BD%8Fb/x", "users%EF%BC%8Fbob%EF%BC%8Fx", "users/bo%E2%80%8Bb/x", "users/%E2%80%AEbob/x",
    "users/{sub}/x", "users/%7Bsub%7D/../bob/x", "$presence/users/bob/x", "%24presence/users/bob/x", "$presence/**",
    "$users/bob/x", "users/alice/x/../../bob/x", "users/%FFbob/x", "users/bob%C0%AFx", "users/alice/x?x=/users/bob/x",
]  # fmt: skip


@pytest_twisted.async_fixture
async def daemon(start_daemon: Start, tmp_path: Path) -> RunningDaemon:
    """A daemon with a channel for each of two users, and a token of one of them."""
    credentials = Credentials(tmp_path)
    actions = ("subscribe", "history", "publish", "manage", "presence")
    credentials.write({TOKEN: only(actions, ["users/alice/**"])})
    daemon = await start_daemon({}, file=credentials.file)
    await daemon.request("POST", "/pub/users/bob/x", SECRET, bearer(SETUP))
    await daemon.request("POST", "/pub/users/alice/x", b"for alice", bearer(SETUP))
    return daemon


async def answer_of(daemon: RunningDaemon, method: str, path: str, body: bytes | None = None) -> bytes:
    """Send a request with the token, and return what is answered until the next request has been."""
    received: list[bytes] = []
    request = encode_request(method, path, body, bearer(TOKEN))
    client: HttpClient = daemon.connect("http", HttpClient(request, received.append))
    head = await client.head
    assert head.status < 500
    if head.headers.get("transfer-encoding") != "chunked" and head.status != 101:
        received.append((await client.answer).body)
    else:
        await daemon.request("GET", "/health/live")
    client.transport.abortConnection()
    return b"".join(received)


@pytest.mark.parametrize("resource", RESOURCES)
@pytest_twisted.ensureDeferred
async def test_no_spelling_reads_a_channel_that_is_not_granted(daemon: RunningDaemon, resource: str) -> None:
    for spelling in SPELLINGS:
        for separator in ("/", "//", "/%2F") if resource == "history" else ("/",):
            sign = "&" if "?" in spelling else "?"
            path = f"/{resource}{separator}{spelling}{sign}since=all&timeout=0"
            assert SECRET not in await answer_of(daemon, "GET", path), path
    assert not daemon.subscribers("users/bob/x")


@pytest_twisted.ensureDeferred
async def test_the_own_channel_is_read_as_it_is_spelled(daemon: RunningDaemon) -> None:
    for spelling in ("users/alice/x", "users%2Falice%2Fx", "users/%61lice/x"):
        assert b"for alice" in await answer_of(daemon, "GET", f"/history/{spelling}")


@pytest_twisted.ensureDeferred
async def test_no_spelling_writes_to_a_channel_that_is_not_granted(daemon: RunningDaemon) -> None:
    before = (await daemon.request("GET", "/history/users/bob/*", None, bearer(SETUP))).json
    for spelling in SPELLINGS:
        for method, body in (("POST", b"x"), ("PUT", b"x"), ("DELETE", None)):
            await answer_of(daemon, method, f"/pub/{spelling}", body)
    assert (await daemon.request("GET", "/history/users/bob/*", None, bearer(SETUP))).json == before
    names = (await daemon.request("GET", "/channels", None, bearer(SETUP))).json["channels"]
    assert all(name == "users/bob/x" or name.startswith("users/alice/") for name in names)


@pytest_twisted.ensureDeferred
async def test_no_spelling_in_a_command_reaches_a_channel_that_is_not_granted(daemon: RunningDaemon) -> None:
    line = TextLines(daemon)
    line.open()
    await line.ask(f"AUTH {TOKEN}")
    for spelling in SPELLINGS:
        for command in (f"SUB {spelling} since=all", f"HIST {spelling}", f"STAT {spelling}", f"PUB {spelling} x"):
            await line.send(command)
        await line.send("PUBJ " + json.dumps({"channel": spelling, "data": "x"}))
    assert SECRET.decode() not in repr([line.taken(), line.extra])
    assert not daemon.subscribers("users/bob/x")
    names = (await daemon.request("GET", "/channels", None, bearer(SETUP))).json["channels"]
    assert all(name == "users/bob/x" or name.startswith("users/alice/") for name in names)
