"""JSON messages are one line for every reader, whatever the publisher sent."""

import json
from collections.abc import Callable

import msgspec
import pytest

from pushd.core.command import HistoryResult, Pong
from pushd.core.errors import BadJson
from pushd.core.message import Gap, Message, draft
from pushd.wire import websocket_commands
from pushd.wire.json_messages import encode, encode_end, encode_gap, encode_message
from pushd.wire.line_commands import encode_reply
from pushd.wire.ndjson import JsonLines
from pushd.wire.sse import SseJson
from pushd.wire.websocket_commands import encode_refusal
from pushd.wire.websocket_frames import JsonFrames

CONTROLS = "\v\f\x1c\x1d\x1e"
"""Control characters at which `str.splitlines` splits. JSON requires their escapes."""
SEPARATORS = "\x85\u2028\u2029"
DATA = {
    "text": (SEPARATORS, "text/plain; charset=utf-8", "text"),
    "json": (json.dumps({"a": SEPARATORS}, ensure_ascii=False), "application/json", "json"),
    "controls": (f"a{CONTROLS}\r\nb", "text/plain; charset=utf-8", "text"),
    "json with controls": (json.dumps({"a": CONTROLS + "\r\n"}), "application/json", "json"),
    "json of several lines": (f'{{"{SEPARATORS}":\r\n1}}', "application/json", "json"),
    "mixed": (f"…“quoted”…{SEPARATORS}é", "text/plain; charset=utf-8", "text"),
}


def message_of(data: str, kind: str, form: str, channel: str = "a") -> Message:
    return Message("E", 1, None, channel, 0.0, data.encode(), kind, form)


def lines(encoded: bytes) -> list[str]:
    return encoded.decode().splitlines()


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize(
    ("encoder", "count"),
    [(encode_message, 1), (JsonLines().message, 1), (SseJson().message, 3)],
    ids=["array", "ndjson", "sse-json"],
)
def test_message_is_as_many_lines_for_all_readers(name: str, encoder: Callable[[Message], bytes], count: int) -> None:
    data, kind, form = DATA[name]
    message = message_of(data, kind, form)
    found = lines(encoder(message))
    assert len(found) == count
    value = json.loads(encode_message(message))["data"]
    assert value == (json.loads(data) if form == "json" else data)


@pytest.mark.parametrize("control", CONTROLS)
def test_json_with_raw_control_characters_is_refused(control: str) -> None:
    for data in (f'"{control}"', f"[1,{control}2]", f"{control}1"):
        with pytest.raises(BadJson):
            draft("a", data.encode(), "application/json")


def test_reply_of_websocket_repeats_ref_in_one_line() -> None:
    ref = msgspec.Raw(json.dumps(SEPARATORS, ensure_ascii=False).encode())
    for encoded in (websocket_commands.encode_reply(Pong(SEPARATORS), ref), encode_refusal(BadJson("x"), ref)):
        payload = encoded[2:] if encoded[1] < 126 else encoded[4:]
        assert len(lines(payload)) == 1
        assert json.loads(payload)["ref"] == SEPARATORS


def test_websocket_message_is_escaped_alike() -> None:
    message = message_of(*DATA["text"])
    assert encode_message(message) in JsonFrames().message(message)


@pytest.mark.parametrize("name", [f"a{each}" for each in SEPARATORS])
def test_control_objects_are_one_line(name: str) -> None:
    gap = Gap(name, "E-1", "E-2", "evicted")
    for encoded in (encode_gap(gap), encode_end(name), encode({"channel": name})):
        assert len(lines(encoded)) == 1
        assert name in json.loads(encoded).values()


def test_event_types_are_escaped() -> None:
    message = Message("E", 1, None, "a", 0.0, b"x", "text/plain", "text", event=SEPARATORS)
    assert len(lines(encode_message(message))) == 1
    assert json.loads(encode_message(message))["event"] == SEPARATORS


def test_history_over_lines_is_escaped() -> None:
    reply = encode_reply(HistoryResult(("a",), (message_of(*DATA["text"]),)), JsonLines(b"\r\n"))
    assert len(lines(reply)) == reply.count(b"\n")
