"""The start cursor: a client that is cut before its first message resumes from it and loses nothing."""

import json
import re
from pathlib import Path

import pytest

from tests.transports.bayeux_client import BayeuxPoll
from tests.transports.client import Client, Gap, Received
from tests.transports.daemon import RunningDaemon, until
from tests.transports.every_client import ALL_CLIENTS, REPORTING, STREAMS, TWO_WAY, each_client
from tests.transports.http_client import HttpClient, address, encode_request
from tests.transports.line_client import JsonLines, RawLines
from tests.transports.long_poll_client import LongPoll
from tests.transports.session_clients import SESSIONS, PushletPull
from tests.transports.websocket_client import JsonWebSocket

each_store = pytest.mark.parametrize("store", ["memory", "disk"])
each_topic = pytest.mark.parametrize("topics", ["a", "a,b", "*"])
_POLLS = (LongPoll, PushletPull)
"""The clients whose first answer may have messages: it has the cursor behind them."""
_SEES_GAPS = (*REPORTING, LongPoll, BayeuxPoll, *SESSIONS)


@pytest.fixture
def settings(store: str, tmp_path: Path) -> dict[str, object]:
    """The settings of a daemon that keeps three messages of a channel."""
    return {"history.messages": 3} | ({"backend.data_dir": tmp_path} if store == "disk" else {})


async def subscribed(daemon: RunningDaemon, client_class: type[Client], topics: str, since: str | None) -> Client:
    """Return a client that has subscribed."""
    client = client_class(daemon)
    await client.subscribe(topics, since)
    return client


def start_of(client: Client) -> str:
    """Return the start cursor."""
    cursor = client.cursor if type(client) in _POLLS else client.start_cursor
    assert cursor is not None
    return cursor


async def received(client: Client) -> list[bytes | str]:
    """Return what a client receives until the message `last`: the data of messages, and the reasons of gaps."""
    items: list[bytes | str] = [client.gap] if client.gap else []
    for item in await client.until(b"last"):
        assert isinstance(item, Received | Gap)
        items.append(item.data if isinstance(item, Received) else item.reason)
    return items


@each_store
@each_topic
@each_client(ALL_CLIENTS)
async def test_a_client_that_is_cut_before_its_first_message_loses_nothing(
    start_daemon, settings, client_class, topics
):
    daemon = await start_daemon(settings)
    await daemon.publish("a", "before")
    await daemon.publish("other/channel", "x")
    client = await subscribed(daemon, client_class, topics, None)
    client.abort()
    await daemon.publish("a", "missed")
    again = await subscribed(daemon, client_class, topics, start_of(client))
    await daemon.publish("a", "last")
    assert await received(again) == [b"missed"]


@each_topic
@each_client(ALL_CLIENTS)
async def test_a_start_cursor_survives_a_restart_of_a_durable_daemon(start_daemon, tmp_path, client_class, topics):
    durable = {"backend.data_dir": tmp_path}
    daemon = await start_daemon(durable)
    client = await subscribed(daemon, client_class, topics, None)
    cursor = start_of(client)
    client.abort()
    await daemon.publish("a", "missed")
    await daemon.stop()
    daemon = await start_daemon(durable)
    again = await subscribed(daemon, client_class, topics, cursor)
    await daemon.publish("a", "last")
    assert await received(again) == [b"missed"]


@each_store
@each_topic
@pytest.mark.parametrize("since", ["all", "last:9", "1h", "1000000000"])
@each_client(_SEES_GAPS)
async def test_of_a_position_it_is_just_before_the_first_message(start_daemon, settings, client_class, since, topics):
    daemon = await start_daemon(settings)
    ids = await daemon.publish_all(*[("a", f"{number}") for number in range(5)], ("other/channel", "x"))
    client = await subscribed(daemon, client_class, topics, since)
    reports_gap = since in ("1h", "1000000000")
    if client_class not in _POLLS:
        assert start_of(client) == (ids[1] if not reports_gap else f"{ids[1].rpartition('-')[0]}-1")
    # Another message would evict one that the replay may not have read yet.
    items = await client.receive(3 + (reports_gap and client.reports_gaps))
    gaps = [item.reason for item in items if isinstance(item, Gap)] + [client.gap] * (client.gap is not None)
    assert gaps == ["evicted"] * reports_gap
    assert [item.data for item in items if isinstance(item, Received)] == [b"2", b"3", b"4"]


@each_store
@each_client(_SEES_GAPS)
async def test_a_gap_is_reported_again_until_a_message_was_received(start_daemon, settings, client_class, store):
    daemon = await start_daemon(settings)
    ids = await daemon.publish_all(*[("a", f"{number}") for number in range(5)])
    future = ids[0].rpartition("-")[0] + "-99"
    for since, reason in ((ids[0], "evicted"), ("Elsewhere-7", "epoch"), (future, "unknown")):
        for _ in range(2):
            client = await subscribed(daemon, client_class, "a", since)
            if client_class not in _POLLS:
                assert start_of(client) == since
            await daemon.publish("b", "x")
            if client_class.reports_gaps:
                gap = await client.next()
                assert isinstance(gap, Gap) and gap.reason == reason
            else:
                await until(lambda: client.gap, "the gap")  # noqa: B023
                assert client.gap == reason
            client.abort()


@each_client(TWO_WAY)
async def test_a_repeated_subscription_reports_a_cursor_up_to_which_everything_was_sent(daemon, client_class):
    client = await subscribed(daemon, client_class, "a,b", None)
    first = await daemon.publish("a", "1")
    await client.subscribe("a")
    assert await client.data(1) == [b"1"]
    assert client.start_cursor in (first, first.replace("-1", "-0"))
    await client.subscribe("a,b")
    assert client.start_cursor == first


@each_client(STREAMS)
async def test_head_reports_none(daemon, client_class):
    head = await daemon.request("HEAD", f"/{client_class.resource}/a")
    assert (head.status, "pushd-cursor" in head.headers) == (200, False)


@each_client(STREAMS)
async def test_an_answer_that_subscribes_to_nothing_has_none(daemon, client_class):
    end = await daemon.publish("a", "bye", end=1)
    answer = await daemon.request("GET", address(client_class.resource, "a", since=end))
    assert (answer.status, answer.body, "pushd-cursor" in answer.headers) == (204, b"", False)


async def test_polls_and_the_history_report_the_cursor_to_go_on_from(daemon):
    ids = await daemon.publish_all(("a", "1"), ("b", "2"))
    for path, cursor in (
        ("poll/a", ids[0]),
        ("history/a", ids[1]),
        ("longpoll/a?timeout=0", ids[1]),
        ("pull/a", ids[0]),
    ):
        assert (await daemon.request("GET", f"/{path}")).headers["pushd-cursor"] == cursor, path


async def test_the_present_for_a_page_that_is_rendered_before_it_subscribes(daemon):
    last = await daemon.publish("b", "x")
    for path in ("/cursor", "/cursor/a", "/cursor/a,b/**"):
        answer = await daemon.request("GET", path)
        assert (answer.status, answer.json) == (200, {"cursor": last})
        assert answer.headers["cache-control"] == "no-store"
    assert (await daemon.request("GET", "/cursor/a//b")).json["error"]["code"] == "bad-topic"
    assert await daemon.info("a") is None


BEGIN = {"sse/a": True, "sse/a?format=json": True, "sse/a?begin=0": False, "stream/a": False, "stream/a?begin=1": True}


@pytest.mark.parametrize("path", BEGIN)
async def test_begin_is_the_first_object_where_it_is_asked_for(daemon, path):
    pieces: list[bytes] = []
    protocol = daemon.connect("http", HttpClient(encode_request("GET", f"/{path}"), pieces.append))
    await protocol.head
    await daemon.publish("a", "x")
    await until(lambda: b"x" in b"".join(pieces), "the message")
    begin = re.search(rb'\{"type":"begin",[^}]*\}', b"".join(pieces).split(b'"x"')[0])
    assert (begin is not None) == BEGIN[path]
    if begin is not None:
        decoded = json.loads(begin[0])
        (peer,) = (await daemon.request("GET", "/connections")).json
        assert decoded == {"type": "begin", "cursor": decoded["cursor"], "connection": peer["id"]}
        assert re.fullmatch(r"[0-9a-f]{32}", peer["id"])


@pytest.mark.parametrize("path", ["stream/a?format=raw&begin=1", "mixed/a?begin=1", "ws/a?begin=1", "sse/a?begin=yes"])
async def test_begin_is_refused_where_there_is_none(daemon, path):
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    headers["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    answer = await daemon.request("GET", f"/{path}", None, headers if path.startswith("ws") else {})
    assert (answer.status, answer.json["error"]["code"]) == (400, "bad-parameter")


async def test_begin_over_lines_and_websockets(daemon):
    lines, raw, websocket = JsonLines(daemon), RawLines(daemon), JsonWebSocket(daemon)
    lines.open()
    assert re.fullmatch(r"SUB a cursor=\S+-0", await lines.ask("SUB a begin=1"))
    raw.open()
    assert (await raw.send("SUB a begin=1")).startswith("-ERR bad-command ")
    await websocket.open("/ws/a?begin=1")
    assert await daemon.publish("a", "x")
    assert [await each.data(1) for each in (lines, websocket)] == [[b"x"], [b"x"]]
    assert lines.begun is not None and websocket.begun is not None
    ids = {peer["id"] for peer in (await daemon.request("GET", "/connections")).json}
    assert {lines.begun["connection"], websocket.begun["connection"]} <= ids
