"""The JSON of messages and control objects: exact bytes, one line each, and data that round-trips."""

import base64
import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.core.errors import Refusal
from pushd.core.message import Gap, draft
from pushd.wire.json_messages import PING, encode, encode_end, encode_gap, encode_message
from tests.build import message

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)

SCRAPS = [
    b"",
    b" ",
    b"\r\n",
    b"\n",
    b"\0",
    b"\x1f",
    b"\xff",
    b"\xc2\x85",
    b"\xe2\x80\xa8",
    b'"',
    b"\\",
    b"\\u00",
    b",",
    b":",
]
SCRAPS += [b"0", b"-", b".", b"e", b"NaN", b"Infinity", b"[", b"]", b"{", b"}", b"//"]
"""What breaks JSON in some places and is allowed in others."""


def parsed(line: bytes) -> dict[str, Any]:
    """Return a JSON object, and check that it is one line without repeated keys."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({key for key, _ in pairs}) == len(pairs)
        return dict(pairs)

    assert len(line.splitlines()) == 1
    value = json.loads(line.decode("utf-8"), object_pairs_hook=unique)
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize(
    ("sent", "line"),
    [
        (
            message(17, "a/b", b"hello", prev=12, time=1763751574.123, event="update"),
            b'{"id":"E-17","prev":"E-12","channel":"a/b","time":1763751574.123,"event":"update",'
            b'"content_type":"text/plain; charset=utf-8","data":"hello"}',
        ),
        (
            message(1, "a", b'{"b": [1]}', content_type="application/json", time=5.0),
            b'{"id":"E-1","prev":null,"channel":"a","time":5.0,"content_type":"application/json","data":{"b": [1]}}',
        ),
        (
            message(1, "a", b"\xff\x00", time=0.5),
            b'{"id":"E-1","prev":null,"channel":"a","time":0.5,"content_type":"application/octet-stream",'
            b'"data_base64":"/wA="}',
        ),
        (
            message(1, "a", b"x", time=0.5, event="e", sender="alice"),
            b'{"id":"E-1","prev":null,"channel":"a","time":0.5,"from":"alice","event":"e",'
            b'"content_type":"text/plain; charset=utf-8","data":"x"}',
        ),
    ],
    ids=["text", "json", "binary", "sender"],
)
def test_message_is_encoded_as_documented(sent: Any, line: bytes) -> None:
    assert encode_message(sent) == line


def test_control_objects_are_encoded_as_documented_without_id() -> None:
    gap = encode_gap(Gap("a/*", "E-1", "E-3", "evicted"))
    assert gap == b'{"type":"gap","topic":"a/*","from":"E-1","to":"E-3","reason":"evicted"}'
    assert encode_end("a/b") == b'{"type":"end","channel":"a/b"}'
    assert PING == b'{"type":"ping"}'
    assert encode({"ok": True}) == b'{"ok":true}'


@pytest.mark.parametrize("data", [b"", b"null", b"0"])
def test_empty_and_null_like_text_is_kept(data: bytes) -> None:
    assert parsed(encode_message(message(data=data)))["data"] == data.decode()


def test_json_null_is_encoded_as_null() -> None:
    assert parsed(encode_message(message(data=b"null", content_type="application/json")))["data"] is None


def test_number_keeps_every_digit() -> None:
    number = b"12345678901234567890.12345678901234567890"
    assert b'"data":' + number + b"}" in encode_message(message(data=number, content_type="application/json"))


@given(st.text(), st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=60).map("x{}".format))
def test_any_text_and_event_round_trip_without_forged_keys(text: str, event: str) -> None:
    read = parsed(encode_message(message(7, data=text.encode(), event=event)))
    assert read.pop("data") == text
    assert read.pop("event", "") == event
    assert set(read) == {"id", "prev", "channel", "time", "content_type"}
    assert read["id"] == "E-7"


@given(st.none() | st.text(min_size=1))
def test_any_sender_round_trips(sender: str | None) -> None:
    read = parsed(encode_message(message(sender=sender)))
    assert ("from" in read, read.get("from")) == (sender is not None, sender)


@given(st.binary())
def test_any_bytes_round_trip(data: bytes) -> None:
    read = parsed(encode_message(message(data=data)))
    back = base64.b64decode(read["data_base64"]) if "data_base64" in read else read["data"].encode()
    assert back == data


@given(VALUES, st.sampled_from([None, 0, 2]), st.booleans())
def test_any_json_round_trips_on_one_line(value: Any, indent: int | None, to_ascii: bool) -> None:
    data = json.dumps(value, indent=indent, ensure_ascii=to_ascii).replace("\n", "\r\n").encode()
    read = parsed(encode_message(message(data=data, content_type="application/json")))
    assert read["data"] == value


@st.composite
def nearly_json(draw: st.DrawFn) -> bytes:
    """JSON in which up to two bytes are removed or replaced, or something is inserted."""
    data = bytearray(json.dumps(draw(VALUES), indent=draw(st.sampled_from([None, 0])), ensure_ascii=False).encode())
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(data)))
        data[start : start + draw(st.integers(0, 1))] = draw(st.sampled_from(SCRAPS))
    return bytes(data)


def is_accepted(data: bytes) -> bool:
    """Return whether data is accepted as JSON."""
    try:
        draft("a", data, "application/json")
    except Refusal:
        return False
    return True


@given(nearly_json())
def test_accepted_json_is_valid_inside_json(data: bytes) -> None:
    if is_accepted(data):
        parsed(encode_message(message(data=data, content_type="application/json")))


def test_examples_of_the_test_above_are_often_accepted_and_often_not() -> None:
    outcomes = Counter[bool]()

    @given(nearly_json())
    def count(data: bytes) -> None:
        outcomes[is_accepted(data)] += 1

    count()
    assert min(outcomes[True], outcomes[False]) > 20, outcomes
