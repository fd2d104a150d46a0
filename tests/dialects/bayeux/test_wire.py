"""The wire of Bayeux."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.core.message import Gap, Message, draft
from pushd.dialects.bayeux import z85
from pushd.dialects.bayeux.wire import BINARY_JSON, WIRE, binary_data, encode_response


def message(data=b"x", kind=None, channel="a/b", **fields):
    made = draft(channel, data, kind)
    return Message("E", 7, None, channel, 0.0, made.data, made.content_type, made.encoding, **fields)


def decoded(message):
    return json.loads(WIRE.message(message))


def test_message_has_neither_a_client_nor_a_result():
    assert decoded(message(b'{"a":1}', "application/json")) == {"channel": "/a/b", "data": {"a": 1}, "id": "E-7"}
    assert decoded(message("hé".encode())) == {"channel": "/a/b", "data": "hé", "id": "E-7"}
    assert "id" not in decoded(message(is_kept=False))


def test_fields_of_pushd_are_an_extension():
    received = decoded(message(event="e", sender="bob", reply_to="$reply/1"))
    assert received["ext"] == {"pushd": {"from": "bob", "event": "e", "reply_to": "$reply/1"}}


def test_binary_data_is_that_of_the_extension():
    received = decoded(message(b"\xff\x00", "application/octet-stream"))
    assert received["ext"] == {"binary": {}}
    assert z85.decode(received["data"]["data"]) == b"\xff\x00"
    raw = json.dumps(received["data"]).encode()
    assert binary_data(raw) == (b"\xff\x00", "application/octet-stream")


@pytest.mark.parametrize("fields", [{"last": False}, {"meta": {"n": 1}}, {"data": "~"}, {"data": 1}])
def test_what_has_more_than_bytes_stays_an_object(fields):
    raw = json.dumps({"data": "", "last": True} | fields).encode()
    assert binary_data(raw) == (raw, BINARY_JSON)
    received = decoded(message(raw, BINARY_JSON))
    assert (received["ext"], received["data"]) == ({"binary": {}}, json.loads(raw))


@pytest.mark.parametrize("channel", ["meta/connect", "meta", "service/x", "service", "pushd/gap"])
def test_channel_with_another_meaning_in_bayeux_is_not_delivered(channel):
    assert WIRE.message(message(channel=channel)) == b""


@pytest.mark.parametrize("channel", ["metal/a", "a/meta/connect", "pushd/gaps", "services"])
def test_similar_channel_is_delivered(channel):
    assert decoded(message(channel=channel))["channel"] == f"/{channel}"


def test_gap_is_a_message_on_a_channel_of_its_own():
    assert json.loads(WIRE.gap(Gap("a/*", "E-1", "E-5", "evicted"))) == {
        "channel": "/pushd/gap",
        "data": {"type": "gap", "topic": "a/*", "from": "E-1", "to": "E-5", "reason": "evicted"},
    }


def test_response_has_the_channel_and_the_id_of_its_request():
    reply = draft("$reply/1", b'{"r":1}', "application/json")
    assert json.loads(encode_response("/service/x", "9", reply)) == {
        "channel": "/service/x",
        "data": {"r": 1},
        "id": "9",
    }


@given(st.binary())
def test_any_bytes_survive_z85(data):
    assert z85.decode(z85.encode(data)) == data


@given(st.text())
def test_any_text_is_decoded_or_refused(text):
    data = z85.decode(text)
    assert data is None or len(data) == len(text) * 4 // 5


def test_example_of_the_specification():
    assert z85.encode(bytes.fromhex("864FD26FB559F75B")) == "HelloWorld"


@given(st.binary(max_size=50), st.sampled_from([None, "application/json", "application/octet-stream"]))
def test_no_data_forges_a_message(data, kind):
    try:
        made = message(data, kind)
    except Exception:
        return
    block = WIRE.block([WIRE.message(made), WIRE.message(made)])
    assert b"\n" not in block
    assert [each["channel"] for each in json.loads(b"[" + block + b"]")] == ["/a/b", "/a/b"]
