"""Promises 6 and 7: control information has no id, and what a publisher sends is taken for nothing but data."""

import base64
import json

import pytest

from tests.transports.each import EVERY, TELLING, each
from tests.transports.line_client import TextLines
from tests.transports.peers import End, Gap, Heard, Refused
from tests.transports.slow_reader import ROOMY, stall
from tests.transports.sockets import BareSocket, JsonSocket
from tests.transports.streams import LineStream, Sse, SseJson

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


@each(EVERY)
async def test_promise_7_text_arrives_as_it_was_sent_and_nothing_besides(daemon, way):
    peer = way(daemon)
    await peer.subscribe("a")
    for text in TEXTS:
        await daemon.publish("a", text, "text/plain")
        await daemon.publish("a", "next")
        items = await peer.until(b"next")
        assert b"\n".join(item.data for item in items) == way.shows(text.encode()), text
        assert len(items) == 1 or (not way.tells_gaps and "\n" in text)


@each(EVERY)
async def test_promise_7_bytes_arrive_as_they_were_sent_and_nothing_besides(daemon, way):
    peer = way(daemon)
    await peer.subscribe("a")
    for data in BINARIES:
        await daemon.publish("a", data, "application/octet-stream")
        await daemon.publish("a", "next")
        items = await peer.until(b"next")
        assert b"\n".join(item.data for item in items) == way.shows(data, "binary")
        assert len(items) == 1 or (not way.tells_gaps and b"\n" in data)


@each(EVERY)
async def test_promise_7_the_history_gives_the_same_as_what_was_heard_live(daemon, way):
    texts = [text for text in TEXTS if way.tells_gaps or "\n" not in text]
    for text in texts:
        await daemon.publish("a", text, "text/plain")
    peer = way(daemon)
    await peer.subscribe("a", since="all")
    assert await peer.data(len(texts)) == [way.shows(text.encode()) for text in texts]


@each((SseJson, LineStream, JsonSocket))
async def test_promise_7_json_stands_in_json_as_the_value_it_is(daemon, way):
    peer = way(daemon)
    await peer.subscribe("a")
    for text in JSONS:
        await daemon.publish("a", text, "application/json")
        await daemon.publish("a", "next")
        (item,) = await peer.until(b"next")
        value = json.loads(text)
        assert (item.data.decode() if isinstance(value, str) else json.loads(item.data)) == value


async def test_promise_7_what_is_called_json_and_is_none_is_refused(daemon):
    for text in ("{", '"\\ud800"', "NaN", '{"a":1} {"b":2}', '"raw\nline end"', "", "1,2"):
        answer = await daemon.request("POST", "/pub/a", text.encode(), {"Content-Type": "application/json"})
        assert (answer.status, answer.json["error"]["code"]) == (400, "bad-json"), text
    assert await daemon.history("a") == []


@each(tuple(way for way in TELLING if way.tells_events))
async def test_promise_7_an_event_type_arrives_as_it_was_sent(daemon, way):
    peer = way(daemon)
    await peer.subscribe("a")
    for event in EVENTS:
        last = await daemon.publish("a", "x", event=event)
        assert await peer.next() == Heard(last, "a" if way.tells_channels else None, b"x", event)


async def refusal_by_door(daemon, **message):
    """Give the code with which each door refuses a message."""
    as_json = {"channel": "a", "data": "x"} | message
    lines, socket = TextLines(daemon), JsonSocket(daemon)
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
async def test_promise_7_an_event_type_that_could_forge_a_frame_is_refused_at_each_door(daemon, event):
    assert await refusal_by_door(daemon, event=event) == {"bad-event"}
    with pytest.raises(AssertionError, match="bad-event"):
        await daemon.publish("a", "x", event=event)
    assert await daemon.history("a") == []


@pytest.mark.parametrize("kind", BAD_TYPES)
async def test_promise_7_a_content_type_that_could_forge_a_header_is_refused_at_each_door(daemon, kind):
    assert await refusal_by_door(daemon, content_type=kind) == {"bad-content-type"}
    assert await daemon.history("a") == []


@pytest.mark.parametrize("channel", BAD_CHANNELS)
async def test_promise_7_a_channel_that_could_forge_a_line_is_refused_at_each_door(daemon, channel):
    assert await refusal_by_door(daemon, channel=channel) == {"bad-channel"}


async def test_promise_7_pub_reads_the_escapes_that_msg_writes(daemon):
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
    peer = BareSocket(daemon)
    await peer.subscribe("a")
    for data, kind, is_binary in ((b"x", None, False), (b"\xff", None, True), (b"{}", "application/json", False)):
        await daemon.publish("a", data, kind)
        assert await peer.data(1) == [data]
        assert peer.last_was_binary is is_binary


async def test_promise_7_base64_of_a_batch_is_the_bytes_it_stands_for(daemon):
    peer = LineStream(daemon)
    await peer.subscribe("a")
    lines = [json.dumps({"channel": "a", "data_base64": base64.b64encode(data).decode()}) for data in BINARIES]
    await daemon.request("POST", "/pub", "\n".join(lines).encode(), {"Content-Type": "application/x-ndjson"})
    assert await peer.data(len(BINARIES)) == BINARIES


# Promise 6


@each(TELLING)
async def test_promise_6_gap_and_end_carry_no_id_and_leave_the_cursor_as_it_was(start_daemon, way):
    daemon = await start_daemon(ROOMY | {"limits.queue_messages": 2})
    peer = way(daemon, small=True)
    await daemon.publish("a", "old")
    await peer.subscribe("a", since="0000-1", slow="drop")
    assert isinstance(await peer.next(), Gap)
    assert peer.last_id is None
    await peer.heard(1)
    sent = await stall(daemon, peer)
    small = [await daemon.publish("a", f"{number}") for number in range(4)]
    peer.unstall()
    await peer.heard(len(sent))
    cursor = sent[-1]
    assert await peer.next() == Gap("a", cursor, small[1], "slow")
    last = await daemon.publish("a", "bye", end=1)
    assert [item.id for item in await peer.heard(3)] == [*small[2:], last]
    assert await peer.next() == End("a")
    assert peer.last_id == last


async def test_promise_6_the_last_event_id_of_a_browser_is_moved_by_messages_only(daemon):
    peer = Sse(daemon)
    old = await daemon.publish("a", "old")
    await peer.subscribe("a", since="0000-1")
    assert isinstance(await peer.next(), Gap)
    assert peer.events.last_event_id == ""
    await peer.heard(1)
    assert peer.events.last_event_id == old
    await daemon.publish("a", b"", end=1)
    assert await peer.next() == End("a")
    assert peer.events.last_event_id == old


async def test_promise_6_control_objects_hold_what_the_protocol_says_and_no_more(daemon):
    await daemon.publish("a", "old")
    json_lines, events = LineStream(daemon), Sse(daemon)
    for peer in (json_lines, events):
        await peer.subscribe("a", since="0000-1")
        await peer.heard(2)
    await daemon.publish("a", b"", end=1)
    for peer in (json_lines, events):
        await peer.next()
    gap, _, end = map(json.loads, json_lines.body.splitlines())
    assert list(gap) == ["type", "topic", "from", "to", "reason"]
    assert end == {"type": "end", "channel": "a"}
    blocks = events.body.split(b"\n\n")
    assert blocks[0].endswith(b"event: gap\ndata: " + json.dumps(gap, separators=(",", ":")).encode())
    assert blocks[2:] == [b'event: end\ndata: {"type":"end","channel":"a"}', b""]
