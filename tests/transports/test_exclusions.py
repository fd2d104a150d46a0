"""Messages that are not delivered to a connection of their publisher: `except`, and `echo` over two-way transports."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.daemon_fixtures import Start
from tests.transports.client import Client, Received
from tests.transports.daemon import RunningDaemon, until
from tests.transports.every_client import ALL_CLIENTS, REPORTING, STREAMING, each_client
from tests.transports.http_client import Answer, address
from tests.transports.line_client import JsonLines, LineClient, TextLines
from tests.transports.long_poll_client import LongPoll
from tests.transports.stream_client import Sse
from tests.transports.test_senders import bearer, file
from tests.transports.websocket_client import CommandWebSocket, JsonWebSocket

__all__ = ["file"]

NDJSON = {"Content-Type": "application/x-ndjson"}
UNKNOWN = "0" * 32


async def connections(daemon: RunningDaemon, channel: str = "a") -> list[str]:
    """Return the ids of the connections that receive a channel."""
    answer = await daemon.request("GET", f"/connections?channel={channel}")
    return [each["id"] for each in answer.json]


async def post(
    daemon: RunningDaemon, channel: str, text: str, headers: Mapping[str, str] | None = None, /, **query: object
) -> Answer:
    return await daemon.request("POST", address("pub", channel, **query), text.encode(), headers)


async def batch(daemon: RunningDaemon, *messages: Mapping[str, object]) -> list[Any]:
    body = "\n".join(map(json.dumps, messages)).encode()
    return [json.loads(line) for line in (await daemon.request("POST", "/pub", body, NDJSON)).body.splitlines()]


@each_client(ALL_CLIENTS)
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("topics", ["a", "*", "a,**,b"])
async def test_it_reaches_all_but_the_connection(daemon, client_class, topics, keep):
    client, other = client_class(daemon), TextLines(daemon)
    await other.subscribe("a,b")
    await client.subscribe(topics)
    while len(ids := await connections(daemon)) < 2:
        assert client_class is LongPoll
    id = ids[1]
    answer = await post(daemon, "a", "excluded", keep=keep, **{"except": id})
    assert (answer.status, answer.json["subscribers"]) == (201, 1)
    await post(daemon, "a", "for all", keep=keep)
    assert await client.data(1) == [b"for all"]
    assert await other.data(2) == [b"excluded", b"for all"]


@each_client(STREAMING)
async def test_the_messages_of_one_turn_are_each_for_their_subscribers(any_daemon, client_class):
    daemon = any_daemon
    client, other = client_class(daemon), client_class(daemon)
    for each in (client, other):
        await each.subscribe("a,b,*" if client_class.is_two_way else "**")
    first, second = await connections(daemon)
    messages: list[dict[str, object]] = []
    expected: tuple[list[bytes], list[bytes]] = ([], [])
    for number in range(60):
        message: dict[str, object] = {"channel": "abc"[number % 3], "data": str(number), "keep": number % 4 != 0}
        excluded = [None, first, second, None, UNKNOWN][number % 5]
        messages.append(message if excluded is None else message | {"except": excluded})
        for id, texts in zip((first, second), expected, strict=True):
            texts += [] if id == excluded else [b"%d" % number]
    assert not any("error" in line for line in await batch(daemon, *messages))
    assert await client.data(len(expected[0])) == expected[0]
    assert await other.data(len(expected[1])) == expected[1]


@each_client(REPORTING)
async def test_a_reconnect_replays_it(daemon, client_class):
    client = client_class(daemon)
    await client.subscribe("a")
    cursor = client.cursor
    (id,) = await connections(daemon)
    await post(daemon, "a", "1", **{"except": id})
    again = client_class(daemon)
    await again.subscribe("a", since=cursor)
    assert await again.data(1) == [b"1"]
    await daemon.publish("a", "2")
    assert await client.data(1) == [b"2"]


@pytest.mark.parametrize("slow", ["disconnect", "drop", "latest"])
async def test_it_is_not_queued_for_a_slow_connection(daemon, slow):
    client = TextLines(daemon, small=True)
    await client.subscribe("a", slow=slow)
    (id,) = await connections(daemon)
    client.stall()
    while not daemon.stalled:
        await batch(daemon, *[{"channel": "a", "data": "x" * 1000, "keep": False}] * 100)
    assert daemon.stalled
    for _ in range(20):
        await batch(daemon, *[{"channel": "a", "data": "excluded", "except": id}] * 100)
    await daemon.publish("a", "last")
    client.unstall()
    items = await client.until(b"last")
    assert {item.data for item in items if isinstance(item, Received)} == {b"x" * 1000}
    assert all(isinstance(item, Received) for item in items)


async def by_line(client: Client, channel: str, text: str, **rest: object) -> Any:
    assert isinstance(client, LineClient)
    return await client.ask(f"PUBJ {json.dumps({'channel': channel, 'data': text} | rest)}")


async def by_frame(client: Client, channel: str, text: str, **rest: object) -> Any:
    assert isinstance(client, JsonWebSocket)
    return await client.ask(**({"publish": channel, "data": text} | rest))


TWO_WAY = {JsonLines: by_line, TextLines: by_line, JsonWebSocket: by_frame, CommandWebSocket: by_frame}


@pytest.mark.parametrize("client_class", TWO_WAY, ids=[client_class.label for client_class in TWO_WAY])
@pytest.mark.parametrize("keep", [False, True])
async def test_without_an_echo_the_publisher_itself_does_not_receive_it(daemon, client_class, keep):
    publish = TWO_WAY[client_class]
    client, other = client_class(daemon), client_class(daemon)
    for each in (client, other):
        await each.subscribe("a")
    await publish(client, "a", "no echo", echo=False, keep=keep)
    await publish(client, "a", "echo", echo=True, keep=keep)
    await publish(client, "a", "by default", keep=keep)
    assert await client.data(2) == [b"echo", b"by default"]
    assert await other.data(3) == [b"no echo", b"echo", b"by default"]


async def test_a_connection_that_cannot_be_named_is_refused(daemon):
    for bad in ("", "x", UNKNOWN[1:], UNKNOWN.replace("0", "G"), f"{UNKNOWN},{UNKNOWN}"):
        answer = await post(daemon, "a", "x", **{"except": bad})
        assert (answer.status, answer.json["error"]["code"]) == (400, "bad-parameter"), bad
        (line,) = await batch(daemon, {"channel": "a", "data": "x", "except": bad})
        assert line["error"]["code"] == "bad-parameter"
    socket, lines = JsonWebSocket(daemon), TextLines(daemon)
    await socket.open()
    lines.open()
    both = {"echo": False, "except": UNKNOWN}
    assert (await socket.ask(publish="a", data="x", **both))["error"]["code"] == "bad-parameter"
    assert (await lines.send(f"PUBJ {json.dumps({'channel': 'a', 'data': 'x'} | both)}")).startswith("-ERR bad-param")
    (line,) = await batch(daemon, {"channel": "a", "data": "x", "echo": False})
    assert line["error"]["code"] == "bad-json"
    assert (await post(daemon, "a", "x", echo=0)).json["error"]["code"] == "bad-parameter"
    assert await daemon.history("a") == []
    assert (await post(daemon, "a", "x", **{"except": UNKNOWN})).status == 202


# Whose connection it is


@pytest_twisted.async_fixture
async def guarded(start_daemon: Start, file: Path) -> RunningDaemon:
    """A daemon with tokens that may subscribe, too."""
    tokens = file.with_name("tokens.toml")
    tokens.write_text(tokens.read_text().replace("publish =", 'subscribe = ["**"]\npublish ='))
    return await start_daemon({}, file=file)


@pytest.mark.parametrize("owner", [None, "phone"])
async def test_only_the_identity_of_the_connection_may_exclude_it(guarded, owner):
    """Two tokens of one subject are one identity; nobody is the identity of those without a token."""
    daemon = guarded
    if owner is None:
        client: Client = Sse(daemon)
        await client.subscribe("a")
        await until(lambda: client.connection, "the start cursor")
        id = client.connection
    else:
        client = JsonWebSocket(daemon)
        await client.open("/ws")
        await client.ask(auth=owner)
        id = (await client.ask(subscribe="a"))["connection"]
    own = (None,) if owner is None else ("phone", "laptop")
    for token in (None, "phone", "laptop", "other"):
        headers = bearer(token) if token else {}
        answer = await post(daemon, "a", f"by {token}", headers, **{"except": id})
        if token in own:
            assert answer.status == 202, token
            continue
        assert (answer.status, answer.json["error"]["code"]) == (403, "forbidden"), token
        line = json.dumps({"channel": "a", "data": "x", "except": id}).encode()
        answer = await daemon.request("POST", "/pub", line, NDJSON | headers)
        assert json.loads(answer.body)["error"]["code"] == "forbidden"
    assert len(await daemon.history("a")) == len(own)
    await post(daemon, "a", "last")
    assert await client.until(b"last") == []


async def test_a_repeat_with_a_key_excludes_as_the_first_did(daemon):
    client = TextLines(daemon)
    await client.subscribe("a")
    (id,) = await connections(daemon)
    for _ in range(2):
        answer = await post(daemon, "a", "x", {"Idempotency-Key": "k"}, **{"except": id})
        assert (answer.status, answer.json["subscribers"]) == (202, 0)
    await daemon.publish("a", "last")
    assert await client.until(b"last") == []
