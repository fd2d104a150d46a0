"""What can be inferred: nothing about topics that are not granted, and nothing about tokens."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.authorization.credentials import EVERYTHING, SETUP, Credentials, bearer, only
from tests.daemon_fixtures import Start
from tests.transports.client import Closed, Refused
from tests.transports.daemon import RunningDaemon
from tests.transports.http_client import Answer
from tests.transports.line_client import TextLines
from tests.transports.websocket_client import JsonWebSocket

TOKEN = "token-of-the-narrow-grant"
THERE, MISSING = "hidden/there", "hidden/where"
"""A channel with messages and subscribers, and one that does not exist. Their names have the same length."""
REQUESTS = [
    *(
        (method, path)
        for path in (
            "/pub/{}", "/history/{}", "/history/{}?since=all", "/history/{}?limit=1", "/poll/{}", "/poll/{}?format=raw",
            "/longpoll/{}", "/longpoll/{}?since=all", "/pull/{}", "/pull/{}?interval=0", "/sse/{}", "/sse/{}?since=all",
            "/stream/{}?since=latest",
            "/stream/{}?since=last:1", "/mixed/{}", "/multipart/{}", "/sub/{}", "/cursor/{}", "/connections?channel={}",
            "/channels?prefix={}", "/sse/mine/a,{}", "/history/{},mine/a", "/sse/$presence/{}",
        )
        for method in ("GET", "HEAD")
    ),
    ("DELETE", "/pub/{}"), ("POST", "/pub/{}"), ("POST", "/pub/mine/a,{}"), ("DELETE", "/connections/{}"),
    ("GET", "/comet4j?cmd=conn&channels={}"), ("GET", "/comet4j?cmd=conn&channels=mine/a,{}&since=all"),
]  # fmt: skip
COMMANDS: list[dict[str, Any]] = [
    {"subscribe": "{}"},
    {"subscribe": "{}", "since": "all"},
    {"subscribe": "mine/a,{}"},
    {"publish": "{}", "data": "x"},
]
LINES = [
    "SUB {}",
    "SUB {} since=all",
    "HIST {}",
    "STAT {}",
    "PUB {} x",
    'PUBJ {{"channel":"{}","data":1}}',
    "SUB mine/a,{}",
]


@pytest_twisted.async_fixture
async def daemon(start_daemon: Start, tmp_path: Path) -> RunningDaemon:
    """A daemon with a hidden channel, and a token to which it is not granted."""
    credentials = Credentials(tmp_path)
    credentials.write({TOKEN: only(("subscribe", "publish", "history", "manage", "presence"), ["mine/**"])})
    daemon = await start_daemon({"auth.query_tokens": "true"}, file=credentials.file)
    for _ in range(2):
        await daemon.request("POST", f"/pub/{THERE}", b"x", bearer(SETUP))
    line = TextLines(daemon)
    line.open()
    await line.ask(f"AUTH {SETUP}")
    await line.ask(f"SUB {THERE}")
    return daemon


def without_name(answer: Answer, name: str) -> tuple[int, Mapping[str, str], bytes]:
    """Return an answer without the date, and with another name in place of the channel."""
    headers = {key: value for key, value in answer.headers.items() if key != "date"}
    return answer.status, headers, answer.body.replace(name.encode(), b"NAME")


@pytest.mark.parametrize(("method", "path"), REQUESTS, ids=lambda text: text.replace("/", " "))
@pytest_twisted.ensureDeferred
async def test_what_is_missing_is_refused_as_what_is_hidden(daemon: RunningDaemon, method: str, path: str) -> None:
    body = b"x" if method == "POST" else None
    answers = [
        without_name(await daemon.request(method, path.format(name), body, bearer(TOKEN)), name)
        for name in (THERE, MISSING)
    ]
    assert answers[0] == answers[1]
    assert answers[0][0] == 403


@pytest_twisted.ensureDeferred
async def test_commands_are_refused_alike(daemon: RunningDaemon) -> None:
    websocket, line = JsonWebSocket(daemon), TextLines(daemon)
    await websocket.open("/ws", bearer(TOKEN))
    line.open()
    await line.ask(f"AUTH {TOKEN}")
    for command in COMMANDS:
        texts = [json.dumps(command).replace("{}", name) for name in (THERE, MISSING)]
        replies = [json.dumps(await websocket.send(text)) for text in texts]
        assert replies[0].replace(THERE, MISSING) == replies[1]
        assert '"forbidden"' in replies[0]
    for each in LINES:
        answers = [await line.send(each.format(name)) for name in (THERE, MISSING)]
        assert answers[0].replace(THERE, MISSING) == answers[1]
        assert answers[0].startswith("-ERR forbidden ")


@pytest_twisted.ensureDeferred
async def test_events_of_pushlet_are_refused_alike(daemon: RunningDaemon) -> None:
    joined = await daemon.request("GET", "/pushlet.srv?p_event=join&p_format=json", None, bearer(TOKEN))
    session = f"p_id={joined.json[0]['p_id']}"
    for query in (
        f"p_event=subscribe&{session}&p_subject=/{{}}",
        f"p_event=subscribe&{session}&p_subject=/mine/a,/{{}}",
        f"p_event=listen&{session}&p_subject=/{{}}",
        f"p_event=publish&{session}&p_subject=/{{}}",
        "p_event=join-listen&p_format=json&p_subject=/{}",
        "p_event=join-listen&p_format=json&p_subject=/{}&p_since=all",
    ):
        answers = [
            without_name(await daemon.request("GET", f"/pushlet.srv?{query.format(name)}", None, bearer(TOKEN)), name)
            for name in (THERE, MISSING)
        ]
        assert answers[0] == answers[1]
        assert b'"p_reason":"forbidden: ' in answers[0][2]


@pytest_twisted.ensureDeferred
async def test_lines_of_a_batch_are_judged_alike_and_alone(daemon: RunningDaemon) -> None:
    names = (THERE, "mine/a", MISSING, "$sys/x", "mine/b")
    body = b"\n".join(json.dumps({"channel": name, "data": "x"}).encode() for name in names)
    headers = bearer(TOKEN) | {"Content-Type": "application/x-ndjson"}
    lines = (await daemon.request("POST", "/pub", body, headers)).body.splitlines()
    answers = [json.loads(line) for line in lines]
    assert ["id" in answer for answer in answers] == [False, True, False, False, True]
    assert lines[0].replace(THERE.encode(), MISSING.encode()) == lines[2]


@pytest_twisted.ensureDeferred
async def test_several_channels_are_published_to_together_or_not_at_all(daemon: RunningDaemon) -> None:
    assert (await daemon.request("POST", f"/pub/mine/a,{THERE}", b"x", bearer(TOKEN))).status == 403
    assert (await daemon.request("GET", "/pub/mine/a", None, bearer(SETUP))).status == 404


@pytest_twisted.ensureDeferred
async def test_confined_websocket_stays_confined_with_a_later_token(start_daemon: Start, tmp_path: Path) -> None:
    credentials = Credentials(tmp_path)
    credentials.write({TOKEN: EVERYTHING}, only(("subscribe",), ["lobby"]))
    daemon = await start_daemon({}, file=credentials.file)
    client = JsonWebSocket(daemon)
    await client.subscribe("lobby")
    assert "ok" in await client.ask(auth=TOKEN)
    for command in ({"subscribe": "other"}, {"subscribe": "**"}, {"publish": "other", "data": "x"}):
        assert (await client.ask(**command))["error"]["code"] == "forbidden"
    assert "ok" in await client.ask(publish="lobby", data="x")


@pytest_twisted.ensureDeferred
async def test_no_answer_repeats_a_token(daemon: RunningDaemon) -> None:
    protocols = {"Sec-WebSocket-Protocol": f"bearer.{TOKEN}"}
    client = JsonWebSocket(daemon)
    await client.open("/ws/mine/a", protocols)
    assert client.headers["sec-websocket-protocol"] == "pushd.v1"
    assert TOKEN not in json.dumps(client.headers)
    connections = (await daemon.request("GET", "/connections", None, bearer(SETUP))).body
    assert TOKEN.encode() not in connections


@pytest.mark.parametrize("path", ["/pull/mine/a", "/pull/hidden", "/history/mine/a", "/sub/mine/a?timeout=0"])
@pytest_twisted.ensureDeferred
async def test_address_with_a_token_is_not_sent_to_other_pages(daemon: RunningDaemon, path: str) -> None:
    separator = "&" if "?" in path else "?"
    answer = await daemon.request("GET", f"{path}{separator}token={TOKEN}")
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "referrer-policy" not in (await daemon.request("GET", path, None, bearer(TOKEN))).headers


COOKIE = {"Cookie": f"__Host-pushd={TOKEN}"}
OWN, FOREIGN = {"Origin": "http://localhost"}, {"Origin": "https://evil.example"}
READING: dict[str, tuple[dict[str, str], bool]] = {
    "no header": ({}, False),
    "own origin": (OWN, True),
    "own origin of another scheme": (OWN | {"Sec-Fetch-Site": "cross-site"}, False),
    "foreign origin": (FOREIGN, False),
    "foreign origin as a same-origin page": (FOREIGN | {"Sec-Fetch-Site": "same-origin"}, False),
    "opaque origin": ({"Origin": "null"}, False),
    "extension": ({"Origin": "chrome-extension://localhost"}, False),
    "same-origin": ({"Sec-Fetch-Site": "same-origin"}, True),
    "typed address": ({"Sec-Fetch-Site": "none"}, True),
    "same-site": ({"Sec-Fetch-Site": "same-site"}, False),
    "cross-site": ({"Sec-Fetch-Site": "cross-site"}, False),
    "two values": ({"Sec-Fetch-Site": "same-origin, cross-site"}, False),
}


@pytest.mark.parametrize(("headers", "is_allowed"), READING.values(), ids=READING)
@pytest_twisted.ensureDeferred
async def test_cookie_counts_only_from_own_pages(
    daemon: RunningDaemon, headers: dict[str, str], is_allowed: bool
) -> None:
    for path in (
        *("/history/mine/a", "/poll/mine/a", "/pull/mine/a", "/longpoll/mine/a?timeout=0", "/cursor"),
        *("/pushlet.srv?p_event=join", "/comet4j?cmd=conn&channels=mine/a"),
    ):
        answer = await daemon.request("GET", path, None, COOKIE | headers)
        assert answer.status in ((200, 204) if is_allowed else (403,)), path
    is_written = is_allowed and "Origin" in headers
    answer = await daemon.request("POST", "/pub/mine/a", b"x", COOKIE | headers)
    assert answer.status in ((201, 202) if is_written else (403,))
    client = JsonWebSocket(daemon)
    try:
        await client.open("/ws/mine/a", COOKIE | headers)
    except Refused as refused:
        assert refused.status == 403
    else:
        assert headers.get("Origin") == OWN["Origin"]
        assert not [item for item in client.taken() if isinstance(item, Closed)]
