"""What changes while something is under way: a token is removed, or its grant shrinks, by a reload."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, ensureDeferred

from pushd.core.errors import TokenInvalid
from pushd.core.idempotency import IdempotencyCache
from pushd.core.identity import Identity
from tests.authorization.command_rows import COMMAND_ROWS, V1, Bare
from tests.authorization.credentials import EVERYTHING, SETUP, Credentials, Grants, bearer, only
from tests.authorization.dialect_rows import COMET4J_ROWS, PUSHLET_ROWS, SessionRequests
from tests.authorization.http_rows import HTTP_ROWS, Http
from tests.authorization.row import ALLOWED, CHANNEL, Prepared, Row, prepare
from tests.backends.redis_server import RedisServer
from tests.daemon_fixtures import Start
from tests.transports.daemon import RunningDaemon, turns, until, until_ready
from tests.transports.http_client import Answer, HttpClient, encode_request
from tests.transports.line_client import TextLines
from tests.transports.websocket_client import JsonWebSocket

TOKEN = "token-of-the-races"
SECRET = b"published after the grant was taken"
SHRUNK: dict[str, tuple[Grants | None, int, str]] = {
    "removed": (None, 401, "token-revoked"),
    "no topic": (only(("publish",)), 403, "forbidden"),
    "other topics": (only(("subscribe", "history"), ["other"]), 403, "forbidden"),
    "denied": ({**EVERYTHING, "deny": [CHANNEL]}, 403, "forbidden"),
}
"""What becomes of the token, and how a request that waits is refused then."""

each_change = pytest.mark.parametrize(("grants", "status", "code"), SHRUNK.values(), ids=SHRUNK)


@pytest.fixture
def credentials(tmp_path: Path) -> Credentials:
    """The files of the daemon, with a token to which everything is granted."""
    credentials = Credentials(tmp_path)
    credentials.write({TOKEN: EVERYTHING})
    return credentials


@pytest_twisted.async_fixture
async def prepared(start_daemon: Start, credentials: Credentials) -> Prepared:
    """A daemon with messages in the channel."""
    return await prepare(await start_daemon({}, file=credentials.file))


async def change(daemon: RunningDaemon, credentials: Credentials, grants: Grants | None) -> None:
    """Change the grant of the token, or remove the token, and reload."""
    credentials.write({} if grants is None else {TOKEN: grants})
    await daemon.reload()


async def hold(prepared: Prepared, path: str) -> HttpClient:
    """Send a request that waits for the next message of the channel."""
    newest = (await prepared.daemon.request("GET", f"/history/{CHANNEL}", None, bearer(SETUP))).json[-1]["id"]
    request = encode_request("GET", path.format(cursor=newest), None, bearer(TOKEN))
    client: HttpClient = prepared.daemon.connect("http", HttpClient(request))
    await until(lambda: bool(prepared.daemon.subscribers(CHANNEL)), "the subscriber")
    await turns()
    return client


HELD = [f"/longpoll/{CHANNEL}", f"/longpoll/{CHANNEL}?since={{cursor}}", f"/pull/{CHANNEL}?interval=0&since={{cursor}}"]


@each_change
@pytest.mark.parametrize("path", HELD)
@pytest_twisted.ensureDeferred
async def test_held_request_is_refused_when_its_grant_shrinks(
    prepared: Prepared, credentials: Credentials, path: str, grants: Grants | None, status: int, code: str
) -> None:
    client = await hold(prepared, path)
    await change(prepared.daemon, credentials, grants)
    await prepared.daemon.request("POST", f"/pub/{CHANNEL}", SECRET, bearer(SETUP))
    answer: Answer = await client.answer
    assert (answer.status, answer.json["error"]["code"]) == (status, code)
    assert SECRET not in answer.body


@pytest_twisted.ensureDeferred
async def test_page_that_was_held_is_read_with_the_grant_of_then(prepared: Prepared, credentials: Credentials) -> None:
    client = await hold(prepared, f"/pull/{CHANNEL}?interval=0&since={{cursor}}")
    await change(prepared.daemon, credentials, only(("subscribe",)))
    await prepared.daemon.request("POST", f"/pub/{CHANNEL}", SECRET, bearer(SETUP))
    answer: Answer = await client.answer
    assert (answer.status, answer.json["error"]["code"]) == (403, "forbidden")
    assert SECRET not in answer.body


SUBSCRIBING = [
    row
    for row in (*HTTP_ROWS, *COMMAND_ROWS, *PUSHLET_ROWS, *COMET4J_ROWS)
    if set(row.needs) & {"subscribe", "presence"}
    and (
        (
            isinstance(row.send, Http)
            and row.send.method == "GET"
            and "/cursor" not in row.send.path
            and "/pub" not in row.send.path
            and not row.send.path.startswith(("/presence/", "/heartbeat/"))
        )
        or isinstance(row.send, Bare | SessionRequests)
        or (isinstance(row.send, V1) and row.send.command is None)
    )
]


class StalledBackend:
    """Lets the opening of subscriptions wait."""

    def __init__(self, daemon: RunningDaemon, patch: pytest.MonkeyPatch) -> None:
        backend = daemon._service.hub._backend
        original: Callable[..., Any] = backend.open
        self.is_waiting = False
        self._gate: Deferred[None] = Deferred()

        async def open_later(*arguments: Any) -> Any:
            self.is_waiting = True
            await self._gate
            return await original(*arguments)

        patch.setattr(backend, "open", open_later)

    def go_on(self) -> None:
        """Answer now."""
        self._gate.callback(None)


@each_change
@pytest.mark.parametrize("row", SUBSCRIBING, ids=[row.label for row in SUBSCRIBING])
@pytest_twisted.ensureDeferred
async def test_subscription_that_is_being_opened_is_refused(
    prepared: Prepared,
    credentials: Credentials,
    monkeypatch: pytest.MonkeyPatch,
    row: Row,
    grants: Grants | None,
    status: int,
    code: str,
) -> None:
    daemon = prepared.daemon
    backend = StalledBackend(daemon, monkeypatch)
    sent = ensureDeferred(row.send(prepared, TOKEN))
    await until(lambda: backend.is_waiting, "the opening")
    await change(daemon, credentials, grants)
    backend.go_on()
    result = await sent
    others = ("token-missing", "token-invalid", "forbidden")
    assert result == code or (isinstance(row.send, V1 | SessionRequests) and result in others)
    assert result != ALLOWED
    assert not daemon.subscribers(CHANNEL)


@each_change
@pytest.mark.parametrize("since", ["", " since=all"])
@pytest_twisted.ensureDeferred
async def test_command_whose_subscription_is_being_opened_closes_the_connection(
    prepared: Prepared,
    credentials: Credentials,
    monkeypatch: pytest.MonkeyPatch,
    since: str,
    grants: Grants | None,
    status: int,
    code: str,
) -> None:
    daemon = prepared.daemon
    line, websocket = TextLines(daemon), JsonWebSocket(daemon)
    line.open()
    await line.ask(f"AUTH {TOKEN}")
    await websocket.open("/ws", bearer(TOKEN))
    backend = StalledBackend(daemon, monkeypatch)
    line.send(f"SUB {CHANNEL}{since}").addErrback(lambda failure: None)
    websocket.ask(subscribe=CHANNEL, **({"since": "all"} if since else {})).addErrback(lambda failure: None)
    await until(lambda: len(daemon.subscribers(CHANNEL)) == 2, "the openings")
    await change(daemon, credentials, grants)
    backend.go_on()
    await daemon.request("POST", f"/pub/{CHANNEL}", SECRET, bearer(SETUP))
    await until(lambda: not daemon.subscribers(CHANNEL), "the end")
    await turns()
    assert not [item for item in (*line.taken(), *websocket.taken()) if SECRET in repr(item).encode()]


NDJSON = {"Content-Type": "application/x-ndjson", "Idempotency-Key": "k"}
BATCH = b"\n".join(json.dumps({"channel": channel, "data": "x"}).encode() for channel in ("room/a", "room/b", "other"))


async def repeat(daemon: RunningDaemon, token: str) -> list[str]:
    """Send the batch; return the ids, or the codes of the refusals."""
    answer = await daemon.request("POST", "/pub", BATCH, bearer(token) | NDJSON)
    assert answer.status == 200, answer
    lines = [json.loads(line) for line in answer.body.splitlines()]
    return [line["error"]["code"] if "error" in line else line["id"] for line in lines]


@pytest_twisted.ensureDeferred
async def test_repeated_batch_is_judged_by_the_grant_of_then(prepared: Prepared, credentials: Credentials) -> None:
    first = await repeat(prepared.daemon, TOKEN)
    assert "forbidden" not in first
    assert await repeat(prepared.daemon, TOKEN) == first
    await change(prepared.daemon, credentials, only(("publish",), ["room/a"]))
    assert await repeat(prepared.daemon, TOKEN) == [first[0], "forbidden", "forbidden"]
    await change(prepared.daemon, credentials, only(()))
    assert await repeat(prepared.daemon, TOKEN) == ["forbidden"] * 3


@pytest_twisted.ensureDeferred
async def test_repeat_of_another_identity_is_another_publish(prepared: Prepared, credentials: Credentials) -> None:
    credentials.write({TOKEN: EVERYTHING, "another": EVERYTHING}, EVERYTHING)
    await prepared.daemon.reload()
    first, second = await repeat(prepared.daemon, TOKEN), await repeat(prepared.daemon, "another")
    assert not set(first) & set(second)


class HangingVerifier:
    """Verifies nothing before it is told to."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[Identity | None]] = []

    async def verify(self, token: str) -> Identity | None:
        """See `Verifier`."""
        if token != "slow":
            return None
        self.waiting.append(Deferred())
        return await self.waiting[-1]


@pytest_twisted.ensureDeferred
async def test_slow_verification_delays_nobody_else(prepared: Prepared) -> None:
    daemon = prepared.daemon
    authenticator, verifier = daemon._service._authentication.authenticator, HangingVerifier()
    authenticator.reconfigure((verifier, *authenticator._verifiers))
    clients: list[Any] = [
        daemon.connect("http", HttpClient(encode_request("GET", f"/{kind}/{CHANNEL}", None, bearer("slow"))))
        for kind in ("sse", "longpoll", "history", "pull", "ws") * 20
    ]
    await until(lambda: len(verifier.waiting) == len(clients), "the verifications")
    assert (await daemon.request("GET", f"/history/{CHANNEL}", None, bearer(TOKEN))).status == 200
    for client in clients[::2]:
        client.transport.abortConnection()
    await turns()
    for waiting in verifier.waiting:
        waiting.errback(TokenInvalid("no"))
    for client in clients[1::2]:
        assert (await client.answer).status == 401
    await until(lambda: daemon.open_connections == 1, "only the prepared one")
    assert not [line for line in daemon.log if "failed" in line]


@pytest_twisted.ensureDeferred
async def test_repeat_at_another_node_with_another_grant_is_no_repeat(
    start_daemon: Start, credentials: Credentials, one_redis: RedisServer
) -> None:
    one_redis.ask("FLUSHALL")
    daemon = await start_daemon({"backend.url": one_redis.url}, file=credentials.file)
    await until_ready(daemon)
    first = await repeat(daemon, TOKEN)
    forget_answers(daemon)
    assert await repeat(daemon, TOKEN) == first
    forget_answers(daemon)
    await change(daemon, credentials, only(("publish",), ["room/b"]))
    answer = await daemon.request("POST", "/pub", BATCH, bearer(TOKEN) | NDJSON)
    assert (answer.status, answer.json["error"]["code"]) == (422, "idempotency-mismatch")


def forget_answers(daemon: RunningDaemon) -> None:
    """Make a daemon forget its idempotency keys, as if it were another node."""
    daemon._service.hub._publisher._remembered = IdempotencyCache()
