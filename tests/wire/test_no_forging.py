"""Framing cannot be forged: on every wire, N messages are decoded as N messages with the same data and ids."""

import base64
import json
import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from pushd.core.delivery import Delivery, Wire, encode
from pushd.core.message import Gap, Message
from pushd.wire.chunked import LAST_CHUNK, Chunked
from pushd.wire.multipart import Mixed, Replace, ReplaceDocument, ReplaceSized, first_boundary
from pushd.wire.ndjson import JsonLines, RawLines
from pushd.wire.sse import PREAMBLE, Sse, SseJson
from pushd.wire.text_lines import TextLines
from pushd.wire.websocket_frames import DataFrames, JsonFrames
from tests.transports.event_stream import Event, EventStream
from tests.wire.malicious import BOUNDARY, MESSAGES, some
from tests.wire.readers import chunks_of, lines_of, parts_of, plain
from tests.wire.test_websocket_frames import read as frames_of


def gap_before(message: Message) -> Gap:
    """Return a gap in the channel of a message."""
    return Gap(message.channel, "E-0", message.id, "slow")


def written(wire: Wire, messages: Sequence[Message]) -> bytes:
    """Encode messages, each with a gap before it, and a ping and the end of its channel after it."""
    stream = b""
    for each in messages:
        stream += wire.block([wire.gap(gap_before(each))])
        frames, wire = encode([Delivery(each)], wire)
        stream += wire.block(frames) + wire.block([wire.ping(), wire.end(each.channel)])
    return stream + wire.block([wire.last()])


def data_of(shown: dict[str, Any], message: Message) -> bytes:
    """Return the data of a JSON message; JSON inside it is normalized."""
    if "data_base64" in shown:
        return base64.b64decode(shown["data_base64"], validate=True)
    return json.dumps(shown["data"]).encode() if message.encoding == "json" else shown["data"].encode()


def meant(message: Message) -> bytes:
    """Return the data of a message; JSON is normalized."""
    return json.dumps(json.loads(message.data)).encode() if message.encoding == "json" else message.data


def check_jsons(lines: Sequence[str | bytes], messages: Sequence[Message]) -> None:
    """Check that JSON texts are these messages, with the daemon's control objects between them."""
    shown = [json.loads(line) for line in lines]
    decoded = [each for each in shown if "type" not in each]
    assert [each["id"] for each in decoded] == [each.id for each in messages]
    for each, message in zip(decoded, messages, strict=True):
        assert (each["channel"], each.get("event")) == (message.channel, message.event)
        assert (each["content_type"], data_of(each, message)) == (message.content_type, meant(message))
    asides = [each for each in shown if "type" in each and each["type"] != "ping"]
    assert [each["type"] for each in asides] == ["gap", "end"] * len(messages)
    assert [each.get("topic", each.get("channel")) for each in asides[::2]] == [each.channel for each in messages]
    assert not any("id" in each for each in asides)


def events_of(stream: bytes, messages: Sequence[Message]) -> list[Event]:
    """Return the messages of an event stream, and check the gaps and ends between them."""
    reader = EventStream()
    events = list(reader.feed(PREAMBLE % 3000 + stream))
    assert (reader.retry, reader.last_event_id) == (3000, messages[-1].id if messages else "")
    asides = [event for event in events if event.id is None]
    assert [event.type for event in asides] == ["gap", "end"] * len(messages)
    for gap, end, message in zip(asides[::2], asides[1::2], messages, strict=True):
        assert json.loads(gap.data)["topic"] == json.loads(end.data)["channel"] == message.channel
    return [event for event in events if event.id is not None]


@some
@given(MESSAGES)
def test_server_sent_events(messages: list[Message]) -> None:
    """Data arrives with its line ends as LF, or as base64."""
    decoded = events_of(written(Sse(), messages), messages)
    for event, message in zip(decoded, messages, strict=True):
        if message.encoding == "binary":
            data = base64.b64encode(message.data).decode()
        else:
            data = re.sub("\r\n|\r", "\n", message.data.decode())
        assert event == (message.event or "message", data, message.id)


@some
@given(MESSAGES)
def test_server_sent_events_of_json(messages: list[Message]) -> None:
    decoded = events_of(written(SseJson(), messages), messages)
    assert [(event.type, event.id) for event in decoded] == [(each.event or "message", each.id) for each in messages]
    for event, message in zip(decoded, messages, strict=True):
        assert data_of(json.loads(event.data), message) == meant(message)


@some
@given(MESSAGES, st.sampled_from([b"\n", b"\r\n"]))
def test_lines_of_json(messages: list[Message], line_end: bytes) -> None:
    stream = written(JsonLines(line_end), messages)
    assert not re.search(rb"[\r\n]", stream.replace(line_end, b"")), "no other line end"
    check_jsons(lines_of(stream), messages)


@some
@given(MESSAGES)
def test_lines_of_text(messages: list[Message]) -> None:
    lines = lines_of(written(TextLines(), messages))
    for gap, decoded, end, message in zip(lines[::3], lines[1::3], lines[2::3], messages, strict=True):
        verb, channel, id, text = decoded.split(" ", 3)
        assert (verb, channel, id, plain(text)) == ("MSG", message.channel, message.id, message.data)
        assert (gap, end) == (f"GAP {channel} E-0 {id} slow", f"END {channel}")
        assert decoded.isprintable() or not set(decoded) & set(map(chr, (*range(9), *range(10, 32), *range(127, 160))))


@some
@given(MESSAGES)
def test_mixed_parts(messages: list[Message]) -> None:
    *parts, last = parts_of(first_boundary(BOUNDARY) + written(Mixed(BOUNDARY), messages), BOUNDARY)
    decoded = [part for part in parts if "pushd-ping" not in part.headers]
    for part, message in zip(decoded, messages, strict=True):
        headers = part.headers
        assert headers["pushd-id"] == message.id
        assert unquote(headers["pushd-channel"]) == message.channel
        assert unquote(headers["pushd-event"]) == message.event if message.event else "pushd-event" not in headers
        assert headers["content-type"] == message.content_type
        assert int(headers["content-length"]) == len(part.body)
        assert part.data == message.data
    assert all(
        not part.body and set(part.headers) <= {"pushd-ping", "pushd-end", "content-length"}
        for part in parts
        if part not in decoded
    )
    assert last.body == b""


@some
@given(MESSAGES, st.sampled_from([Replace, ReplaceDocument, ReplaceSized]))
def test_replace_parts(messages: list[Message], form: Callable[[bytes], Wire]) -> None:
    """Each message is shown with its own type, possibly after it was shown in the part of the image before it.

    A message that contains the boundary is omitted; an empty one is not shown.
    """
    shown = [
        part for part in parts_of(first_boundary(BOUNDARY) + written(form(BOUNDARY), messages), BOUNDARY) if part.body
    ]
    expected = [each for each in messages if each.data and b"--" + BOUNDARY not in each.data]
    remaining = iter(shown)
    for message in expected:
        part = next(remaining)
        if part.headers["content-type"] != message.content_type:
            assert part.body == message.data
            part = next(remaining)
        assert (part.headers["content-type"], part.body) == (message.content_type, message.data)
    assert not list(remaining)


@some
@given(MESSAGES, st.sampled_from([Sse, JsonLines, RawLines, Mixed, Replace, ReplaceSized]))
def test_chunks(messages: list[Message], form: Callable[..., Wire]) -> None:
    """The chunks are the blocks, so data cannot be parsed as a chunk."""
    wire = form(BOUNDARY) if form in (Mixed, Replace, ReplaceSized) else form()
    chunks = chunks_of(written(Chunked(wire), messages) + LAST_CHUNK)
    assert b"".join(chunks) == written(wire, messages)


@some
@given(MESSAGES)
def test_websocket_data_frames(messages: list[Message]) -> None:
    frames = frames_of(written(DataFrames(), messages))
    assert frames == [(2 if each.encoding == "binary" else 1, each.data) for each in messages]


@some
@given(MESSAGES)
def test_websocket_frames_of_json(messages: list[Message]) -> None:
    frames = frames_of(written(JsonFrames(), messages))
    assert {opcode for opcode, _ in frames} <= {1}
    check_jsons([payload.decode() for _, payload in frames], messages)
