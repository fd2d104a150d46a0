"""The sender of a message: each JSON form of it has the subject of an authenticated publisher, and no other form."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
import pytest_twisted

from tests.daemon_fixtures import Start
from tests.transports.bayeux_client import BayeuxPoll
from tests.transports.client import Received
from tests.transports.daemon import RunningDaemon, until_ready
from tests.transports.every_client import ALL_CLIENTS
from tests.transports.http_client import Answer
from tests.transports.line_client import JsonLines, TextLines
from tests.transports.long_poll_client import LongPoll
from tests.transports.stream_client import IframeScripts, LineStream, SseJson
from tests.transports.websocket_client import CommandWebSocket, JsonWebSocket

JSON_FORMS = (SseJson, LineStream, JsonWebSocket, CommandWebSocket, JsonLines, LongPoll, BayeuxPoll, IframeScripts)
NDJSON = {"Content-Type": "application/x-ndjson"}
ALICE, BOB = "alice", 'bob "é"\u2028\0'
SUBJECTS = {"phone": ALICE, "laptop": ALICE, "other": BOB}
"""The subjects of the tokens by their names, which are also the tokens themselves."""
TOKEN_TABLE = """[{0}]
sha256 = "{1}"
sub = {2}
publish = ["**"]
"""


def bearer(token: str) -> dict[str, str]:
    """Return the header with a token."""
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration file with tokens, and with all rights of subscribers for peers without a token."""
    tokens, file = tmp_path / "tokens.toml", tmp_path / "pushd.toml"
    tokens.write_text(
        "".join(
            TOKEN_TABLE.format(name, sha256(name.encode()).hexdigest(), json.dumps(subject))
            for name, subject in SUBJECTS.items()
        )
    )
    tokens.chmod(0o600)
    grant = 'subscribe = ["**"]\npublish = ["**"]\n'
    file.write_text(f"[auth]\ntokens_file = {json.dumps(str(tokens))}\n[auth.anonymous]\n{grant}")
    return file


@pytest_twisted.async_fixture
async def daemon(start_daemon: Start, file: Path) -> RunningDaemon:
    """A daemon with tokens."""
    return await start_daemon({}, file=file)


@pytest_twisted.async_fixture
async def any_daemon(start_daemon: Start, backend_settings: dict[str, object], file: Path) -> RunningDaemon:
    """A daemon with tokens, and with each backend in turn."""
    running = await start_daemon(backend_settings, file=file)
    await until_ready(running)
    return running


async def post(daemon: RunningDaemon, path: str, body: bytes, token: str | None = None, **headers: str) -> Answer:
    """Publish by HTTP; with a `Content-Type` of a batch to `/pub`."""
    given = (bearer(token) if token else {}) | (NDJSON if path == "/pub" else {})
    answer = await daemon.request("POST", path, body, given | {key.replace("_", "-"): headers[key] for key in headers})
    assert answer.status in (200, 201, 202), answer
    return answer


async def publish_in_every_way(daemon: RunningDaemon) -> list[tuple[str, str | None]]:
    """Publish to channels a and b over all transports, with and without a token; return data and sender of each."""
    await post(daemon, "/pub/a", b"post", "phone")
    await daemon.request("PUT", "/pub/a", b"put", bearer("other"))
    await post(daemon, "/pub/a,b", b"two channels", "phone")
    lines = [json.dumps({"channel": "a", "data": text}).encode() for text in ("first line", "second line")]
    await post(daemon, "/pub", b"\n".join(lines), "other")
    await post(daemon, "/pub/a", b"nobody")
    await post(daemon, "/pub", lines[0])
    socket = JsonWebSocket(daemon)
    await socket.open("/ws")
    await socket.ask(publish="a", data="frame before auth")
    await socket.ask(auth="phone")
    await socket.ask(publish="a", data="frame after auth")
    opened = JsonWebSocket(daemon)
    await opened.open("/ws", bearer("phone"))
    await opened.ask(publish="a", data="frame")
    client = TextLines(daemon)
    client.open()
    await client.ask("PUB a line before auth")
    await client.ask("AUTH other")
    await client.ask("PUB a line")
    await client.ask('PUBJ {"channel":"a","data":"json line"}')
    for each in (socket, opened, client):
        each.disconnect()
    return [
        ("post", ALICE),
        ("put", BOB),
        ("two channels", ALICE),
        ("two channels", ALICE),
        ("first line", BOB),
        ("second line", BOB),
        ("nobody", None),
        ("first line", None),
        ("frame before auth", None),
        ("frame after auth", ALICE),
        ("frame", ALICE),
        ("line before auth", None),
        ("line", BOB),
        ("json line", BOB),
    ]


async def test_every_json_form_has_the_sender_of_a_message_over_every_transport(any_daemon):
    daemon = any_daemon
    clients = [client_class(daemon) for client_class in ALL_CLIENTS]
    for client in clients:
        await client.subscribe("a,b")
    sent = await publish_in_every_way(daemon)
    late = [client_class(daemon) for client_class in ALL_CLIENTS]
    for client in late:
        await client.subscribe("a,b", since="all")
    for client in (*clients, *late):
        items = await client.receive(len(sent))
        assert all(isinstance(item, Received) for item in items)
        is_json = type(client) in JSON_FORMS
        expected = [(text.encode(), sender if is_json else None) for text, sender in sent]
        assert [(item.data, item.sender) for item in items] == expected, client.label
    for path in ("/history/a,b?since=all", "/poll/a,b?since=all", "/longpoll/a,b?since=all"):
        messages = (await daemon.request("GET", path)).json
        assert [(each["data"], each.get("from")) for each in messages] == sent, path
        assert all(("from" in each) == (each.get("from") is not None) for each in messages)


async def test_the_sender_is_in_no_other_form(daemon):
    await post(daemon, "/pub/a", b"x", "phone")
    for path in ("/poll/a?since=all&format=raw", "/pub/a", "/channels"):
        answer = await daemon.request("GET", path, headers=bearer("phone"))
        assert ALICE not in json.dumps([answer.headers, answer.body.decode()]), path


@pytest.mark.parametrize("name", ["from", "sender", "sub"])
async def test_no_publisher_can_set_the_sender(daemon, name):
    message = {"channel": "a", "data": "x", name: ALICE}
    (line,) = (await post(daemon, "/pub", json.dumps(message).encode())).body.splitlines()
    assert json.loads(line)["error"]["code"] == "bad-json"
    lines, socket = JsonLines(daemon), JsonWebSocket(daemon)
    lines.open()
    assert (await lines.send(f"PUBJ {json.dumps(message)}")).startswith("-ERR bad-json")
    await socket.open("/ws")
    message["publish"] = message.pop("channel")
    assert (await socket.ask(**message))["error"]["code"] == "bad-json"
    answer = await daemon.request("POST", f"/pub/a?{name}={ALICE}", b"x")
    assert (answer.status, answer.json["error"]["code"]) == (400, "bad-parameter")
    assert await daemon.history("a") == []
    await post(daemon, "/pub/a", b"x", From=ALICE, Sender=ALICE, Pushd_From=ALICE)
    (kept,) = (await daemon.request("GET", "/history/a?since=all")).json
    assert "from" not in kept


async def test_an_idempotency_key_belongs_to_one_identity(any_daemon):
    """Two static tokens of the same subject are one identity, so that a token can be replaced."""
    for path, body in (("/pub/a", b"x"), ("/pub", b'{"channel":"a","data":"x"}')):
        answers: dict[str | None, set[bytes]] = {}
        for token in (None, *SUBJECTS):
            for _ in range(2):
                answer = await post(any_daemon, path, body, token, Idempotency_Key="k")
                answers.setdefault(token and SUBJECTS[token], set()).add(answer.body)
        assert {len(bodies) for bodies in answers.values()} == {1}
        assert len(set.union(*answers.values())) == len(answers)
    messages = (await any_daemon.request("GET", "/history/a?since=all")).json
    assert [each.get("from") for each in messages] == [None, *dict.fromkeys(SUBJECTS.values())] * 2


async def test_messages_of_sources_have_no_sender(start_daemon, file):
    with file.open("a") as settings:
        settings.write('[source.greeting]\nkind = "words"\nchannel = "a"\ninterval = "10ms"\n')
    daemon = await start_daemon({}, file=file)
    client = LineStream(daemon)
    await client.subscribe("a", since="all")
    item = await client.next()
    assert isinstance(item, Received)
    assert (item.data, item.sender) == (b"Every", None)
