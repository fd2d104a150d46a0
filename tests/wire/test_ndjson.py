"""Lines of JSON or of data only: one line per message, whatever the publisher sent."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.core.message import Gap
from pushd.wire.ndjson import JsonLines, RawLines
from tests.build import message

GAP = Gap("a", "E-1", "E-3", "evicted")


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_every_frame_is_one_json_line(line_end: bytes) -> None:
    wire = JsonLines(line_end)
    for frame in (wire.message(message(3, data=b"x\ny\r\n")), wire.gap(GAP), wire.end("a"), wire.ping()):
        assert frame.endswith(line_end)
        assert b"\n" not in frame.removesuffix(line_end)
        assert b"\r" not in frame.removesuffix(line_end)
        json.loads(frame)


def test_messages_have_an_id_and_control_objects_a_type() -> None:
    wire = JsonLines()
    assert json.loads(wire.message(message(3)))["id"] == "E-3"
    for kind, frame in (("gap", wire.gap(GAP)), ("end", wire.end("a")), ("ping", wire.ping())):
        read = json.loads(frame)
        assert (read["type"], "id" in read) == (kind, False)


def test_lines_are_joined_unchanged() -> None:
    wire = JsonLines()
    frames = [wire.message(message(seq)) for seq in (1, 2)]
    assert wire.block(frames) == frames[0] + frames[1]
    assert wire.block([]) == b""


def test_pings_can_be_turned_off() -> None:
    assert JsonLines(pings=False).ping() == b""
    assert not JsonLines().data_only


@given(st.lists(st.binary(max_size=30), max_size=5))
def test_each_message_is_one_line(sent: list[bytes]) -> None:
    wire = JsonLines()
    block = wire.block([wire.message(message(seq, data=data)) for seq, data in enumerate(sent, 1)])
    assert [json.loads(line)["id"] for line in block.splitlines()] == [f"E-{seq}" for seq in range(1, len(sent) + 1)]


def test_raw_line_is_data_and_line_feed() -> None:
    wire = RawLines()
    assert wire.message(message(data=b"\xff\x00x")) == b"\xff\x00x\n"
    assert wire.message(message(data=b"")) == b"\n"
    assert wire.block([b"a\n", b"b\n"]) == b"a\nb\n"


def test_raw_lines_have_data_only() -> None:
    wire = RawLines()
    assert wire.data_only
    assert wire.gap(GAP) == wire.end("a") == wire.ping() == b""
