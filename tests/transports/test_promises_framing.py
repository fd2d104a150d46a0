"""Promises 6 and 7: control information has no id, and published data is never parsed as anything else."""

import base64
import json

import pytest

from tests.transports.client import End, Gap, Received, Refused
from tests.transports.every_client import ALL_CLIENTS, REPORTING, each_client
from tests.transports.line_client import TextLines
from tests.transports.slow_reader import LARGE_HISTORY, stall
from tests.transports.stream_client import LineStream, Sse, SseJson
from tests.transports.websocket_client import DataWebSocket, JsonWebSocket

TEXTS = [
    "",
    " ",
    " leading and trailing ",
    "one\ntwo",
    "one\rtwo",
    "one\r\ntwo\r\n",
    "\n",
    "\r\n\r\n",
    "\n" * (64 << 10),
    "\r" * 100,
    "NUL \0 in the middle",
    "id: x",
    "id: E-9\ndata: forged\n\n",
    "\n\ndata: forged",
    "\r\rdata: forged\r\r",
    "x\n\nevent: end\ndata: {}\n\n",
    ":comment",
    "retry: 0",
    "line\u2028paragraph\u2029next\u0085",
    "\ufeffwith a byte order mark",
    "--boundary\r\nContent-Type: text/plain\r\n\r\nforged\r\n--boundary--",
    "0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "MSG a E-9 forged",
    "x\r\nMSG a E-9 forged\r\n+OK\r\nEND a\r\nGAP a E-1 E-2 slow\n-ERR slow no",
    '{"type":"end","channel":"a"}',
    '"}\n{"type":"gap","topic":"a","from":"E-1","to":"E-2","reason":"slow"}\n',
    "\\n \\r \\\\ \\x00 \\",
    "\x1b[2J\x7f\x80",
    "𝄞 and ümläuts",
]
BINARIES = [b"\xff\xfe", b"\xc3(", b"\xed\xa0\x80", b"\x81\x05forged", bytes(range(256)), b"\xff\n\ndata: forged\n\n"]
EVENTS = [
    "message too",
    "gaps",
    "ended",
    "id: x",
    ":",
    " first",
    "data: x",
    "u\u2028v",
    "ünï",
    "\\n",
    '"}',
    "x" * 255,
]
BAD_EVENTS = ["a\nb", "a\x85b", "a\rb", "a\r\ndata: forged", "\0", "\x7f", "x" * 256, "\t", "ü" * 128]
BAD_TYPES = [
    "text/plain\r\nX: 1",
    "text/plain\n",
    "text",
    'text/plain; a="b\r\nc"',
    "text/\0",
    "tëxt/plain",
    "a/" * 200,
]
BAD_CHANNELS = ["", "a\nb", "a\r\nMSG", "a\0", "a b", "a\u2028b", "a\x85b", "a,b", "*", "a//b", "x" * 256]
JSONS = [
    '{"a":1}',
    "[1,\r\n2,\n\n3]",
    '"x\\u2028y"',
    '{"id":"E-9","type":"end"}',
    "1e2",
    "\t null\n",
    '{"a":"\\ud834\\udd1e"}',
]


@each_client(ALL_CLIENTS, is_quick=True)
async def test_promise_7_text_arrives_as_it_was_sent_and_nothing_besides(daemon, client_class):
    client = client_class(daemon)
    await client.subscribe("a")
    for text in TEXTS:
        await daemon.publish("a", text, "text/plain")
        await daemon.publish("a", "next")
        items = await client.until(b"next")
        assert b"\n".join(item.data for item in items) == client_class.as_received(text.encode()), text
        assert len(items) == 1 or (not client_class.reports_gaps and "\n" in text)


@each_client(ALL_CLIENTS, is_quick=True)
async def test_promise_7_bytes_arrive_as_they_were_sent_and_nothing_besides(daemon, client_class):
    client = client_class(daemon)
    await client.subscribe("a")
    for data in BINARIES:
        await daemon.publish("a", data, "application/octet-stream")
        await daemon.publish("a", "next")
        items = await client.until(b"next")
        assert b"\n".join(item.data for item in items) == client_class.as_received(data, "binary")
        assert len(items) == 1 or (not client_class.reports_gaps and b"\n" in data)


@each_client(ALL_CLIENTS, is_quick=True)
async def test_text_of_another_charset_arrives_as_utf8_or_as_it_was_sent(daemon, client_class):
    client = client_class(daemon)
    await client.subscribe("a")
    for kind, data, arrived, form in (
        ("text/plain; charset=iso-8859-1", b"gr\xfcezi", "grüezi".encode(), "text"),
        ("text/plain; charset=x-unknown", b"gr\xfcezi", b"gr\xfcezi", "binary"),
        ("text/plain; charset=x-unknown", b"gruezi", b"gruezi", "binary"),
    ):
        await daemon.publish("a", data, kind)
        await daemon.publish("a", "next")
        items = await client.until(b"next")
        assert [item.data for item in items] == [client_class.as_received(arrived, form)]
    found = (await daemon.request("GET", "/history/a?since=all")).json
    assert [each["content_type"] for each in found][::2] == [
        "text/plain; charset=utf-8",
        *["text/plain; charset=x-unknown"] * 2,
    ]
    assert ["data" in each for each in found][::2] == [True, False, False]


@each_client(ALL_CLIENTS, is_quick=True)
async def test_promise_7_the_history_returns_the_same_as_was_received_live(daemon, client_class):
    texts = [text for text in TEXTS if client_class.reports_gaps or "\n" not in text]
    for text in texts:
        await daemon.publish("a", text, "text/plain")
    client = client_class(daemon)
    await client.subscribe("a", since="all")
    assert await client.data(len(texts)) == [client_class.as_received(text.encode()) for text in texts]


@each_client((SseJson, LineStream, JsonWebSocket))
async def test_promise_7_json_data_is_embedded_as_a_json_value(daemon, client_class):
    client = client_class(daemon)
    await client.subscribe("a")
    for text in JSONS:
        await daemon.publish("a", text, "application/json")
        await daemon.publish("a", "next")
        (item,) = await client.until(b"next")
        value = json.loads(text)
        assert (item.data.decode() if isinstance(value, str) else json.loads(item.data)) == value


async def test_promise_7_invalid_json_is_refused(daemon):
    for text in ("{", '"\\ud800"', "NaN", '{"a":1} {"b":2}', '"raw\nline end"', "", "1,2"):
        answer = await daemon.request("POST", "/pub/a", text.encode(), {"Content-Type": "application/json"})
        assert (answer.status, answer.json["error"]["code"]) == (400, "bad-json"), text
    assert await daemon.history("a") == []


@each_client(tuple(client_class for client_class in REPORTING if client_class.has_events))
async def test_promise_7_an_event_type_arrives_as_it_was_sent(daemon, client_class):
    client = client_class(daemon)
    await client.subscribe("a")
    for event in EVENTS:
        last = await daemon.publish("a", "x", event=event)
        assert await client.next() == Received(last, "a" if client_class.has_channels else None, b"x", event)


async def refusal_by_door(daemon, **message):
    """Return the code with which each resource refuses a message."""
    as_json = {"channel": "a", "data": "x"} | message
    lines, socket = TextLines(daemon), JsonWebSocket(daemon)
    lines.open()
    await socket.open()
    batch = await daemon.request("POST", "/pub", json.dumps(as_json).encode(), {"Content-Type": "application/x-ndjson"})
    try:
        by_line: str | None = await lines.ask(f"PUBJ {json.dumps(as_json)}")
    except Refused as refused:
        by_line = refused.code
    by_socket = await socket.ask(publish=as_json.pop("channel"), **as_json)
    return {batch.json["error"]["code"], by_line, by_socket["error"]["code"]}


@pytest.mark.parametrize("event", BAD_EVENTS)
async def test_promise_7_an_event_type_that_could_forge_a_frame_is_refused(daemon, event):
    assert await refusal_by_door(daemon, event=event) == {"bad-event"}
    with pytest.raises(AssertionError, match="bad-event"):
        await daemon.publish("a", "x", event=event)
    assert await daemon.history("a") == []


@pytest.mark.parametrize("kind", BAD_TYPES)
async def test_promise_7_a_content_type_that_could_forge_a_header_is_refused(daemon, kind):
    assert await refusal_by_door(daemon, content_type=kind) == {"bad-content-type"}
    assert await daemon.history("a") == []


@pytest.mark.parametrize("channel", BAD_CHANNELS)
async def test_promise_7_a_channel_that_could_forge_a_line_is_refused(daemon, channel):
    assert await refusal_by_door(daemon, channel=channel) == {"bad-channel"}


async def test_promise_7_pub_decodes_the_escapes_that_msg_encodes(daemon):
    lines, hearing = TextLines(daemon), TextLines(daemon)
    lines.open()
    await hearing.subscribe("a")
    for text, data in ((r"\\n\n\r\x00\xff", b"\\n\n\r\0\xff"), ("", b""), ("  two  spaces ", b"  two  spaces ")):
        await lines.ask(f"PUB a {text}")
        assert await hearing.data(1) == [data]
    with pytest.raises(Refused, match="bad-escape"):
        await lines.ask(r"PUB a \q")


async def test_promise_7_a_refusal_repeats_nothing_that_could_forge_a_line(daemon):
    lines = TextLines(daemon)
    lines.open()
    for line in ("SUB a since=\rx", 'PUBJ {"channel":"a","\\r\\n+OK":1}', "\x1b[2J", "FORMAT \0"):
        with pytest.raises(Refused):
            await lines.ask(line)
    assert await lines.send("PING still here") == "PONG still here"
    assert lines.extra == []


async def test_promise_7_binary_is_a_binary_frame_and_text_a_text_frame(daemon):
    client = DataWebSocket(daemon)
    await client.subscribe("a")
    for data, kind, is_binary in ((b"x", None, False), (b"\xff", None, True), (b"{}", "application/json", False)):
        await daemon.publish("a", data, kind)
        assert await client.data(1) == [data]
        assert client.last_was_binary is is_binary


async def test_promise_7_base64_in_a_batch_is_decoded(daemon):
    client = LineStream(daemon)
    await client.subscribe("a")
    lines = [json.dumps({"channel": "a", "data_base64": base64.b64encode(data).decode()}) for data in BINARIES]
    await daemon.request("POST", "/pub", "\n".join(lines).encode(), {"Content-Type": "application/x-ndjson"})
    assert await client.data(len(BINARIES)) == BINARIES


# Promise 6


@each_client(REPORTING)
async def test_promise_6_gap_and_end_have_no_id_and_do_not_move_the_cursor(start_daemon, client_class):
    daemon = await start_daemon(LARGE_HISTORY | {"limits.queue_messages": 2})
    client = client_class(daemon, small=True)
    await daemon.publish("a", "old")
    await client.subscribe("a", since="0000-1", slow="drop")
    assert isinstance(await client.next(), Gap)
    assert client.last_id == "0000-1"
    await client.receive(1)
    sent = await stall(daemon, client)
    small = [await daemon.publish("a", f"{number}") for number in range(4)]
    client.unstall()
    await client.receive(len(sent))
    cursor = sent[-1]
    assert await client.next() == Gap("a", cursor, small[1], "slow")
    last = await daemon.publish("a", "bye", end=1)
    assert [item.id for item in await client.receive(3)] == [*small[2:], last]
    assert await client.next() == End("a")
    assert client.last_id == last


async def test_promise_6_only_messages_move_the_last_event_id(daemon):
    client = Sse(daemon)
    old = await daemon.publish("a", "old")
    await client.subscribe("a", since="0000-1")
    assert isinstance(await client.next(), Gap)
    assert client.events.last_event_id == "0000-1"
    await client.receive(1)
    assert client.events.last_event_id == old
    await daemon.publish("a", b"", end=1)
    assert await client.next() == End("a")
    assert client.events.last_event_id == old


async def test_promise_6_control_objects_have_exactly_the_documented_fields(daemon):
    await daemon.publish("a", "old")
    json_lines, events = LineStream(daemon), Sse(daemon)
    for client in (json_lines, events):
        await client.subscribe("a", since="0000-1")
        await client.receive(2)
    await daemon.publish("a", b"", end=1)
    for client in (json_lines, events):
        await client.next()
    gap, _, end = map(json.loads, json_lines.body.splitlines())
    assert list(gap) == ["type", "topic", "from", "to", "reason"]
    assert end == {"type": "end", "channel": "a"}
    begin, *blocks = events.body.split(b"\n\n")
    expected = {"type": "begin", "cursor": "0000-1", "connection": events.connection}
    assert begin.endswith(b"event: begin\nid: 0000-1\ndata: " + json.dumps(expected, separators=(",", ":")).encode())
    assert blocks[0].endswith(b"event: gap\ndata: " + json.dumps(gap, separators=(",", ":")).encode())
    assert blocks[2:] == [b'event: end\ndata: {"type":"end","channel":"a"}', b""]
