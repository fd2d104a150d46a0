"""Ephemeral messages: delivered to connected subscribers on every transport, and never kept."""

import json
from typing import Any

import pytest

from tests.transports.client import Received
from tests.transports.daemon import RunningDaemon, until
from tests.transports.every_client import ALL_CLIENTS, REPORTING, STREAMING, each_client
from tests.transports.http_client import Answer, HttpClient, address, encode_request
from tests.transports.line_client import JsonLines, RawLines, TextLines
from tests.transports.long_poll_client import LongPoll
from tests.transports.websocket_client import JsonWebSocket

NDJSON = {"Content-Type": "application/x-ndjson"}


async def send(daemon: RunningDaemon, channel: str, text: str, **query: object) -> Any:
    """Publish an ephemeral message; return the receipt."""
    answer = await daemon.request("POST", address("pub", channel, keep=0, **query), text.encode())
    assert answer.status in (201, 202), answer
    return answer.json


async def by_batch(daemon: RunningDaemon) -> Any:
    line = b'{"channel":"a","data":"x","keep":false}'
    return json.loads((await daemon.request("POST", "/pub", line, NDJSON)).body)


async def by_line(daemon: RunningDaemon) -> Any:
    client = TextLines(daemon)
    client.open()
    id, subscribers = (await client.ask('PUBJ {"channel":"a","data":"x","keep":false}')).split()
    assert id == "-"
    return {"id": None, "channel": "a", "subscribers": int(subscribers)}


async def by_websocket(daemon: RunningDaemon) -> Any:
    client = JsonWebSocket(daemon)
    await client.open()
    reply = await client.ask(publish="a", data="x", keep=False)
    return {"id": reply["id"], "channel": "a", "subscribers": reply["subscribers"]}


async def by_post(daemon: RunningDaemon) -> Any:
    return await send(daemon, "a", "x")


DOORS = {"POST": by_post, "batch": by_batch, "PUBJ": by_line, "websocket": by_websocket}


@each_client(ALL_CLIENTS)
@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
async def test_an_ephemeral_message_is_delivered_without_an_id(daemon, client_class, door):
    client = client_class(daemon)
    await client.subscribe("a")
    if client_class is LongPoll:
        await until(lambda: daemon.subscribers("a"), "a poll waits")
    cursor = client.cursor
    assert await door(daemon) == {"id": None, "channel": "a", "subscribers": 1}
    (item,) = await client.receive(1)
    channel = "a" if client_class.has_channels else None
    assert item == Received(None, channel, b"x", None)
    assert client.cursor == cursor


@each_client(STREAMING)
async def test_kept_and_ephemeral_messages_are_received_in_the_order_of_the_publishes(any_daemon, client_class):
    daemon = any_daemon
    client = client_class(daemon)
    await client.subscribe("**")
    publisher = TextLines(daemon)
    publisher.open()
    answers = []
    for number in range(300):
        message = {"channel": "abc"[number % 3], "data": str(number), "keep": number % 4 in (0, 3)}
        answers.append(publisher.send(f"PUBJ {json.dumps(message)}"))
        if number % 50 == 49:
            await answers[-1]
    for number in range(300, 330):
        await send(daemon, "b", str(number)) if number % 2 else await daemon.publish("a", str(number))
    assert await client.data(330) == [b"%d" % number for number in range(330)]


@each_client(REPORTING)
async def test_an_ephemeral_message_changes_no_cursor_and_makes_no_gap(any_daemon, client_class):
    daemon = any_daemon
    client = client_class(daemon)
    await client.subscribe("a", since="all")
    first = await daemon.publish("a", "1")
    await send(daemon, "a", "2")
    await client.until(b"2")
    assert client.cursor == first
    client.disconnect()
    await until(lambda: not daemon.subscribers("a"), "the client has left")
    await send(daemon, "a", "3")
    await daemon.publish("a", "4")
    again = client_class(daemon)
    await again.subscribe("a", since=client.cursor)
    assert await again.data(1) == [b"4"]
    await send(daemon, "a", "5")
    await daemon.publish("a", "6")
    assert await again.data(2) == [b"5", b"6"]


async def test_nothing_of_it_is_kept(any_daemon):
    daemon = any_daemon
    id = await daemon.publish("a", "kept")
    for channel in ("a", "b"):
        assert await send(daemon, channel, "x") == {"id": None, "channel": channel, "subscribers": 0}
    assert await daemon.history("**") == [id]
    assert (await daemon.info("a"))["messages"] == 1
    assert (await daemon.info("a"))["last"] == id
    assert await daemon.info("b") is None
    assert (await daemon.request("GET", "/channels")).json["channels"] == ["a"]
    client = JsonLines(daemon)
    await client.subscribe("a,b", since="last:5")
    assert await client.receive(1) == [Received(id, "a", b"kept", None)]
    assert (await client.ask("HIST a,b 10")).split() == ["HIST", "1"]
    assert (await daemon.request("GET", "/cursor")).json["cursor"] == id


@pytest.mark.parametrize("options", [{"ttl": 5}, {"end": 1}])
async def test_it_has_neither_a_time_to_live_nor_an_end(daemon, options):
    answer = await daemon.request("POST", address("pub", "a", keep=0, **options), b"x")
    assert (answer.status, answer.json["error"]["code"]) == (400, "bad-parameter")
    message = {"channel": "a", "data": "x", "keep": False} | {
        key: value if key == "ttl" else True for key, value in options.items()
    }
    (line,) = (await daemon.request("POST", "/pub", json.dumps(message).encode(), NDJSON)).body.splitlines()
    assert json.loads(line)["error"]["code"] == "bad-parameter"
    lines = TextLines(daemon)
    lines.open()
    assert (await lines.send(f"PUBJ {json.dumps(message)}")).startswith("-ERR bad-parameter ")


async def test_it_has_no_idempotency_key(daemon):
    headers = {"Idempotency-Key": "k"}
    for path in ("/pub/a?keep=0", "/pub/a,b?keep=0"):
        answer = await daemon.request("POST", path, b"x", headers)
        assert (answer.status, answer.json["error"]["code"]) == (400, "bad-parameter"), path
    batch = b'{"channel":"a","data":1}\n{"channel":"a","data":2,"keep":false}'
    lines = (await daemon.request("POST", "/pub", batch, NDJSON | headers)).body.splitlines()
    assert [json.loads(line).get("error", {}).get("code") for line in lines] == [None, "bad-parameter"]


@pytest.mark.parametrize("value", ["", "2", "no", "0&keep=0"])
async def test_keep_is_0_or_1(daemon, value):
    answer = await daemon.request("POST", f"/pub/a?keep={value}", b"x")
    assert (answer.status, answer.json["error"]["code"]) == (400, "bad-parameter")
    assert (await daemon.request("POST", "/pub/a?keep=1", b"x")).json["id"]


# Polls and pages


def waiting(daemon: RunningDaemon, path: str) -> HttpClient:
    client: HttpClient = daemon.connect("http", HttpClient(encode_request("GET", path)))
    return client


@pytest.mark.parametrize("form", ["json", "raw"])
async def test_a_poll_that_ephemeral_messages_answer_skips_and_repeats_nothing(any_daemon, form):
    """What is published between two polls is received by the second one if it is kept, and by none if it is not."""
    daemon = any_daemon
    position = (await daemon.request("GET", "/longpoll/a?timeout=0")).headers["pushd-id"]
    other = JsonLines(daemon)
    await other.subscribe("b")
    await send(daemon, "a", "nobody waits")
    await send(daemon, "b", "after it")  # Redis answers a publisher before the nodes have received the message
    assert await other.data(1) == [b"after it"]
    received = []
    for number in range(3):
        client = waiting(daemon, f"/longpoll/a?since={position}&format={form}")
        await until(lambda: daemon.subscribers("a"), "a poll waits")
        await send(daemon, "a", f"ephemeral {number}", event="typing")
        answer: Answer = await client.answer
        assert answer.status == 200
        assert answer.headers["pushd-id"] == position == answer.headers["pushd-cursor"]
        if form == "raw":
            assert (answer.headers["pushd-event"], answer.body) == ("typing", b"ephemeral %d" % number)
        await daemon.publish("a", str(number))
        answer = await waiting(daemon, f"/longpoll/a?since={position}&format={form}").answer
        received.append(answer.body.decode() if form == "raw" else answer.json[0]["data"])
        position = answer.headers["pushd-id"]
    assert received == ["0", "1", "2"]


async def test_a_raw_poll_answers_with_the_kept_message_of_a_turn(daemon):
    position = (await daemon.request("GET", "/longpoll/a?timeout=0")).headers["pushd-id"]
    client = waiting(daemon, f"/longpoll/a?since={position}&format=raw")
    await until(lambda: daemon.subscribers("a"), "a poll waits")
    lines = [{"channel": "a", "data": text, "keep": text == "kept"} for text in ("before", "kept", "after")]
    await daemon.request("POST", "/pub", "\n".join(map(json.dumps, lines)).encode(), NDJSON)
    answer: Answer = await client.answer
    assert answer.body == b"kept"
    assert await daemon.history("a") == [answer.headers["pushd-id"]]


async def test_a_page_shows_an_ephemeral_message_while_it_is_held(daemon):
    await daemon.publish("a", "kept")
    page = await daemon.request("GET", "/pull/a?interval=0")
    assert b"kept" in page.body
    cursor = page.headers["pushd-cursor"]
    client = waiting(daemon, f"/pull/a?interval=0&since={cursor}")
    await until(lambda: daemon.subscribers("a"), "a page is held")
    await send(daemon, "a", "shown")
    answer: Answer = await client.answer
    assert b"shown" in answer.body
    assert answer.headers["pushd-cursor"] == cursor
    assert b"kept" in (await daemon.request("GET", "/pull/a?interval=0")).body


# Multipart


@pytest.mark.parametrize("headers", [{}, {"User-Agent": "Mozilla/5.0"}, {"Sec-Fetch-Mode": "navigate"}])
async def test_an_ephemeral_part_that_contains_the_boundary_is_left_out(daemon, headers):
    received: list[bytes] = []
    client = daemon.connect("http", HttpClient(encode_request("GET", "/multipart/a", headers=headers), received.append))
    boundary = (await client.head).headers["content-type"].partition(";boundary=")[2]
    for text in ("one", f"two --{boundary}", "three"):
        await send(daemon, "a", text)
        await until(lambda: daemon.is_idle, "it is sent")
    await until(lambda: b"three" in b"".join(received), "the last part")
    assert b"one" in b"".join(received)
    assert b"two" not in b"".join(received)
    assert b"Pushd-Gap" not in b"".join(received)


# Slow readers


@pytest.mark.parametrize("slow", ["disconnect", "drop", "latest"])
async def test_ephemeral_messages_close_no_slow_connection_and_make_no_gap(daemon, slow):
    client = RawLines(daemon, small=True) if slow == "disconnect" else TextLines(daemon, small=True)
    await client.subscribe("a", slow=slow)
    client.stall()
    await daemon.publish("a", "first")
    for _ in range(60):
        lines = [json.dumps({"channel": "a", "data": "x" * 1000, "keep": False}) for _ in range(100)]
        await daemon.request("POST", "/pub", "\n".join(lines).encode(), NDJSON)
    await daemon.publish("a", "last")
    assert daemon.stalled == 1
    assert await daemon.metric(f'pushd_dropped_total{{policy="{slow}"}}') > 0
    client.unstall()
    items = [item for item in await client.until(b"last") if isinstance(item, Received)]
    assert items[0].data == b"first"
    assert client.taken() == []
