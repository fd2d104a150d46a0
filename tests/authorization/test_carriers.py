"""The carriers of tokens: each accepts the same tokens, refuses the same ones, and one request has one credential."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest
import pytest_twisted

from pushd.auth.authenticator import Verifier
from pushd.auth.jwt import JwtVerifier
from tests.auth.jwt_issuer import NOW, SECRET, claims, hmac_token
from tests.auth.test_forged_tokens import FORGED, TOKEN, verifier_for
from tests.authorization.command_rows import end_of
from tests.authorization.credentials import Credentials
from tests.authorization.row import ALLOWED
from tests.daemon_fixtures import Start
from tests.transports.client import Refused
from tests.transports.daemon import RunningDaemon, until
from tests.transports.line_client import TextLines
from tests.transports.websocket_client import DataWebSocket, JsonWebSocket

EXPIRED = hmac_token(body=claims(iat=NOW - 7200, exp=NOW - 3600))
OWN_ORIGIN = {"Origin": "http://localhost"}
_ADDRESS = "/cursor"
"""What any credential allows, and nothing else does."""
_COOKIE = "__Host-pushd"


async def by_request(daemon: RunningDaemon, path: str, headers: dict[str, str]) -> str:
    """Send a request; return what came of it, and check that the answer has no part of a token."""
    answer = await daemon.request("GET", path, None, headers)
    return ALLOWED if answer.status == 200 else str(answer.json["error"]["code"])


async def by_authorization(daemon: RunningDaemon, token: str) -> str:
    return await by_request(daemon, _ADDRESS, {"Authorization": f"Bearer {token}"})


async def by_cookie(daemon: RunningDaemon, token: str) -> str:
    return await by_request(daemon, _ADDRESS, {"Cookie": f"a=b; {_COOKIE}={token}; c=d", **OWN_ORIGIN})


async def by_query(daemon: RunningDaemon, token: str) -> str:
    return await by_request(daemon, f"{_ADDRESS}?token={quote(token, safe='')}", {})


async def by_subprotocol(daemon: RunningDaemon, token: str) -> str:
    client = DataWebSocket(daemon)
    try:
        await client.open("/ws/users/42/x", {"Sec-WebSocket-Protocol": f"bearer.{token}"})
    except Refused as refused:
        return str(refused.code)
    client.abort()
    return ALLOWED


async def by_subprotocol_of_v1(daemon: RunningDaemon, token: str) -> str:
    client = JsonWebSocket(daemon)
    try:
        await client.open("/ws/users/42/x", {"Sec-WebSocket-Protocol": f"bearer.{token}"})
    except Refused as refused:
        return str(refused.code)
    closed = await end_of(client)
    if closed is None:
        client.abort()
        return ALLOWED
    assert closed.code == 4401
    return "token-expired" if "expired" in str(client.protocol.remoteCloseReason) else "token-invalid"


async def by_command(daemon: RunningDaemon, token: str) -> str:
    client = JsonWebSocket(daemon)
    await client.open()
    reply = await client.ask(auth=token)
    client.abort()
    return str(reply["error"]["code"]) if "error" in reply else ALLOWED


async def by_line(daemon: RunningDaemon, token: str) -> str:
    client = TextLines(daemon)
    client.open()
    reply = await client.send(f"AUTH {token}")
    client.abort()
    return reply.split()[1] if reply.startswith("-ERR") else ALLOWED


class Carrier(NamedTuple):
    """A place for tokens."""

    send: Callable[[RunningDaemon, str], Awaitable[str]]
    carries: Callable[[str], bool]
    """Whether a token can be sent there as it is."""


def _is_word(token: str) -> bool:
    return token.isascii() and token.isprintable() and " " not in token and bool(token)


CARRIERS = {
    "Authorization": Carrier(by_authorization, lambda token: _is_word(token) and "," not in token),
    "cookie": Carrier(by_cookie, lambda token: _is_word(token) and not set(token) & {";", '"'}),
    "query": Carrier(by_query, lambda token: True),
    "subprotocol": Carrier(by_subprotocol, lambda token: _is_word(token) and not set(token) & set(',"=')),
    "pushd.v1": Carrier(by_subprotocol_of_v1, lambda token: _is_word(token) and "," not in token),
    "auth command": Carrier(by_command, lambda token: True),
    "AUTH": Carrier(by_line, lambda token: " " not in token and "\n" not in token),
}


def use(daemon: RunningDaemon, *verifiers: Verifier) -> None:
    """Let a daemon verify tokens by these verifiers only."""
    daemon._service._authentication.authenticator.reconfigure(verifiers)


@pytest_twisted.async_fixture
async def daemon(start_daemon: Start, tmp_path: Path) -> RunningDaemon:
    """A daemon that accepts tokens everywhere."""
    key = tmp_path / "url.key"
    key.write_bytes(SECRET)
    key.chmod(0o600)
    credentials = Credentials(tmp_path, f"[auth.url_keys]\nk = {json.dumps(str(key))}")
    return await start_daemon({"auth.query_tokens": "true"}, file=credentials.file)


each_carrier = pytest.mark.parametrize("carrier", CARRIERS.values(), ids=CARRIERS)


@each_carrier
@pytest_twisted.ensureDeferred
async def test_forged_tokens_are_refused(daemon: RunningDaemon, carrier: Carrier) -> None:
    verifiers: dict[str, JwtVerifier] = {}
    cases = [case for case in FORGED if carrier.carries(case.token)]
    assert len(cases) >= 100
    use(daemon, verifier_for("HS256"))
    assert await carrier.send(daemon, TOKEN) == ALLOWED
    assert await carrier.send(daemon, EXPIRED) == "token-expired"
    for case in cases:
        verifier = verifiers.setdefault(case.algorithm, verifier_for(case.algorithm))
        use(daemon, verifier)
        code = await carrier.send(daemon, case.token)
        is_too_large = code == "headers-too-large" and len(case.token) > 8000
        assert code == "token-invalid" or is_too_large, case.name
    await until(lambda: not daemon.subscribers("users/42/x"), "the end of the accepted one")


PAIRS = {
    "two headers": ({"Authorization": f"Bearer {TOKEN}, Bearer {TOKEN}"}, ""),
    "header and query": ({"Authorization": f"Bearer {TOKEN}"}, f"?token={TOKEN}"),
    "header and subprotocol": (
        {"Authorization": f"Bearer {TOKEN}", "Sec-WebSocket-Protocol": f"pushd.v1, bearer.{TOKEN}"},
        "",
    ),
    "two subprotocols": ({"Sec-WebSocket-Protocol": f"bearer.{TOKEN}, bearer.{TOKEN}"}, ""),
    "two in the query": ({}, f"?token={TOKEN}&token={TOKEN}"),
    "escaped name in the query": ({}, f"?token={TOKEN}&%74oken={TOKEN}"),
    "signature and header": ({"Authorization": f"Bearer {TOKEN}"}, "?exp=9&kid=k&sig=x"),
    "signature and query": ({}, f"?exp=9&kid=k&sig=x&token={TOKEN}"),
    "signature and subprotocol": ({"Sec-WebSocket-Protocol": f"bearer.{TOKEN}"}, "?exp=9&kid=k&sig=x"),
    "subprotocol and query": ({"Sec-WebSocket-Protocol": f"bearer.{TOKEN}"}, f"?token={TOKEN}"),
}


@pytest.mark.parametrize(("headers", "query"), PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("path", ["/cursor", "/sse/users/42/x", "/history/users/42/x", "/longpoll/users/42/x"])
@pytest_twisted.ensureDeferred
async def test_several_credentials_are_refused(
    daemon: RunningDaemon, headers: dict[str, str], query: str, path: str
) -> None:
    use(daemon, verifier_for("HS256"))
    answer = await daemon.request("GET", path + query, None, headers)
    assert answer.status == 400
    assert TOKEN[:10] not in answer.body.decode()


@pytest_twisted.ensureDeferred
async def test_a_cookie_beside_another_credential_is_ignored(daemon: RunningDaemon) -> None:
    use(daemon, verifier_for("HS256"))
    for good, cookie in ((True, "x.y.z"), (False, TOKEN)):
        headers = {"Authorization": f"Bearer {TOKEN if good else 'x.y.z'}", "Cookie": f"{_COOKIE}={cookie}"}
        code = await by_request(daemon, _ADDRESS, headers | OWN_ORIGIN)
        assert code == (ALLOWED if good else "token-invalid")


@pytest.mark.parametrize(
    "value",
    ["Bearer", "Bearer ", "bearer\t{}x", "Bearer  {}x", "BEARER x", "Bearer {} x", "Bearer ,", "Bearer x, Basic {}"],
)
@pytest_twisted.ensureDeferred
async def test_malformed_header_is_not_taken_as_none(daemon: RunningDaemon, value: str) -> None:
    use(daemon, verifier_for("HS256"))
    assert await by_request(daemon, _ADDRESS, {"Authorization": value.format(TOKEN)}) == "token-invalid"


@pytest_twisted.ensureDeferred
async def test_other_schemes_are_ignored(daemon: RunningDaemon) -> None:
    use(daemon, verifier_for("HS256"))
    assert await by_request(daemon, _ADDRESS, {"Authorization": "Basic dXNlcjpwYXNz"}) == "token-missing"
    assert await by_request(daemon, _ADDRESS, {"Authorization": f"Basic dXNlcjpwYXNz, Bearer {TOKEN}"}) == ALLOWED
    assert (
        await by_request(daemon, _ADDRESS, {"Authorization": 'Digest username="Bearer x", realm="a"'})
        == "token-missing"
    )
