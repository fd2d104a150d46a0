"""WebSocket frames, decoded by a parser written from RFC 6455, section 5.2."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.core.errors import Refusal
from pushd.core.message import Gap, draft
from pushd.wire.websocket_frames import BINARY, TEXT, DataFrames, JsonFrames, frame
from tests.build import message

GAP = Gap("a", "E-1", "E-3", "evicted")


def read(stream: bytes) -> list[tuple[int, bytes]]:
    """Return the opcode and payload of complete, unmasked frames without extensions."""
    frames = []
    while stream:
        first, second = stream[0], stream[1]
        assert first & 0b1000_0000, "fragmented"
        assert not first & 0b0111_0000, "a reserved bit"
        assert not second & 0b1000_0000, "masked"
        size, head = second & 0b0111_1111, 2
        if size == 126:
            size, head = int.from_bytes(stream[2:4], "big"), 4
            assert size > 125, "not the shortest form"
        elif size == 127:
            size, head = int.from_bytes(stream[2:10], "big"), 10
            assert size > 65535, "not the shortest form"
        assert len(stream) >= head + size
        frames.append((first & 0b1111, stream[head : head + size]))
        stream = stream[head + size :]
    return frames


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (127, b"\x81\x7e\x00\x7f"),
        (65535, b"\x81\x7e\xff\xff"),
        (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_length_has_shortest_form(size: int, head: bytes) -> None:
    payload = b"x" * size
    assert frame(TEXT, payload) == head + payload
    assert read(frame(BINARY, payload)) == [(2, payload)]


@given(st.lists(st.binary(max_size=300), max_size=4))
def test_joined_frames_are_read_separately(payloads: list[bytes]) -> None:
    assert read(DataFrames().block([frame(BINARY, each) for each in payloads])) == [(2, each) for each in payloads]


@pytest.mark.parametrize(
    ("data", "content_type", "opcode"),
    [
        (b"text", None, 1),
        (b"", None, 1),
        (b'{"a":1}', "application/json", 1),
        (b"<p>", "text/html", 1),
        (b"\xff", None, 2),
        (b"\xff", "text/plain", 2),
        (b"png", "image/png", 2),
    ],
)
def test_data_frame_is_text_for_text_and_json_else_binary(data: bytes, content_type: str | None, opcode: int) -> None:
    assert read(DataFrames().message(message(data=data, content_type=content_type))) == [(opcode, data)]


@given(st.binary(max_size=20), st.sampled_from([None, "text/plain", "application/json", "a/b; charset=utf-8"]))
def test_text_frame_is_always_utf8(data: bytes, content_type: str | None) -> None:
    """A browser would close the connection with code 1007."""
    try:
        draft("a", data, content_type)
    except Refusal:
        return
    sent = message(data=data, content_type=content_type)
    for wire in (DataFrames(), JsonFrames()):
        ((opcode, payload),) = read(wire.message(sent))
        if opcode == 1:
            payload.decode("utf-8")


def test_data_frames_have_no_control_frames() -> None:
    wire = DataFrames()
    assert wire.data_only
    assert wire.gap(GAP) == wire.end("a") == wire.ping() == b""


def test_subprotocol_encodes_everything_as_json_text_frames() -> None:
    wire = JsonFrames()
    assert not wire.data_only
    frames = read(wire.block([wire.message(message(3, data=b"\xff")), wire.gap(GAP), wire.end("a")]))
    assert [opcode for opcode, _ in frames] == [1, 1, 1]
    sent, gap, end = (json.loads(payload) for _, payload in frames)
    assert (sent["id"], sent["data_base64"]) == ("E-3", "/w==")
    assert (gap["type"], gap["reason"]) == ("gap", "evicted")
    assert end == {"type": "end", "channel": "a"}
    assert wire.ping() == b""
