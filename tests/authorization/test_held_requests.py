"""Requests that wait are refused at once when their credential is revoked, not when their time is over."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import unquote

import pytest
import pytest_twisted

from tests.authorization.credentials import EVERYTHING, SETUP, Credentials, bearer, subject_of
from tests.authorization.row import CHANNEL
from tests.daemon_fixtures import Start
from tests.dialects.bayeux.client import Bayeux
from tests.dialects.bayeux.test_streams import Socket
from tests.transports.client import Closed
from tests.transports.daemon import RunningDaemon, until
from tests.transports.http_client import HttpClient, encode_request
from tests.transports.websocket_client import JsonWebSocket

TOKEN = "token-of-who-waits"
OTHER = "token-of-another"


async def hold(daemon: RunningDaemon, token: str, method: str, path: str, body: bytes | None = None) -> HttpClient:
    """Send a request that waits."""
    client: HttpClient = daemon.connect("http", HttpClient(encode_request(method, path, body, bearer(token))))
    return client


async def long_poll(daemon: RunningDaemon, token: str) -> HttpClient:
    return await hold(daemon, token, "GET", f"/longpoll/{CHANNEL}?timeout=60")


async def client_pull(daemon: RunningDaemon, token: str) -> HttpClient:
    cursor = (await daemon.request("GET", f"/cursor/{CHANNEL}", None, bearer(token))).json["cursor"]
    return await hold(daemon, token, "GET", f"/pull/{CHANNEL}?interval=0&since={cursor}")


async def ask(daemon: RunningDaemon, token: str) -> HttpClient:
    return await hold(daemon, token, "POST", f"/request/{CHANNEL}?timeout=60", b"x")


async def bayeux_connect(daemon: RunningDaemon, token: str) -> HttpClient:
    client = Bayeux(daemon, bearer(token))
    assert (await client.handshake())["successful"]
    assert (await client.subscribe(f"/{CHANNEL}"))["successful"]
    return client.start(client.connect_message())[0]


async def pushlet_refresh(daemon: RunningDaemon, token: str) -> HttpClient:
    path = f"/pushlet.srv?p_event=join-listen&p_format=json&p_mode=pull&p_subject=/{CHANNEL}"
    return await hold(daemon, token, "GET", (await daemon.request("GET", path, None, bearer(token))).json[-1]["p_url"])


async def comet4j_revival(daemon: RunningDaemon, token: str) -> HttpClient:
    answer = await daemon.request("GET", f"/comet4j?cmd=conn&channels={CHANNEL}", None, bearer(token))
    id = json.loads(unquote(answer.body[1:-1].decode()))["data"]["cId"]
    return await hold(daemon, token, "GET", f"/comet4j?cmd=revival&cid={id}")


async def revoke(daemon: RunningDaemon, token: str) -> None:
    body = json.dumps({"sub": subject_of(token)}).encode()
    assert (await daemon.request("POST", "/auth/revocations", body, bearer(SETUP))).status == 201


WAITING = [long_poll, client_pull, ask, bayeux_connect, pushlet_refresh, comet4j_revival]


@pytest.mark.parametrize("send", WAITING, ids=lambda each: each.__name__)
@pytest_twisted.ensureDeferred
async def test_held_request_is_refused_when_its_credential_is_revoked(
    start_daemon: Start, tmp_path: Path, send: Callable[[RunningDaemon, str], Awaitable[HttpClient]]
) -> None:
    credentials = Credentials(tmp_path)
    credentials.write({TOKEN: EVERYTHING, OTHER: EVERYTHING})
    daemon = await start_daemon({}, file=credentials.file)
    responder = JsonWebSocket(daemon)
    await responder.open(f"/ws/{CHANNEL}", bearer(SETUP))
    held, other = await send(daemon, TOKEN), await send(daemon, OTHER)
    open_requests = daemon._service.hub.requests._open
    await until(lambda: len(daemon.subscribers(CHANNEL)) + len(open_requests) == 3, "the responder and both requests")
    assert not (held.answer.called or other.answer.called)
    await revoke(daemon, TOKEN)
    await until(lambda: held.answer.called, "the answer")
    answer = await held.answer
    if send is bayeux_connect:
        assert answer.json[0]["error"].startswith("403::token-revoked")
    else:
        assert (answer.status, answer.json["error"]["code"]) == (401, "token-revoked")
    assert not other.answer.called


@pytest_twisted.ensureDeferred
async def test_bayeux_websocket_between_two_connects_is_closed(start_daemon: Start, tmp_path: Path) -> None:
    credentials = Credentials(tmp_path)
    credentials.write({TOKEN: EVERYTHING})
    daemon = await start_daemon({}, file=credentials.file)
    socket = Socket(daemon)
    await socket.open("/cometd", bearer(TOKEN))
    await revoke(daemon, TOKEN)
    closed = await socket.next()
    assert isinstance(closed, Closed) and closed.code == 4401, closed
