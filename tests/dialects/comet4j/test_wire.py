"""Messages of comet4j."""

import json
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.core.message import Message, draft
from pushd.dialects.comet4j.wire import Comet4jWire

_TEXT = st.text(max_size=40) | st.text(alphabet="<>%&\"'\\/\n\r\u2028", max_size=40)


def message(data, kind=None, channel="a"):
    made = draft(channel, data, kind)
    return Message("E", 7, None, channel, 1.5, made.data, made.content_type, made.encoding)


@given(st.tuples(_TEXT.map(json.dumps), st.just("application/json")) | st.tuples(_TEXT, st.none()))
def test_no_data_forges_a_message(published):
    text, kind = published
    data = text.encode("utf-8", "surrogatepass")
    encoded = Comet4jWire().message(message(data, kind))
    assert (encoded[:1], encoded[-1:], encoded.count(b"<"), encoded.count(b">")) == (b"<", b">", 1, 1)
    decoded = json.loads(unquote(encoded[1:-1].decode("ascii"), errors="strict"))
    assert (decoded["channel"], decoded["time"]) == ("a", 1500)
    if kind:
        assert decoded["data"] == json.loads(data)


def test_messages_of_the_system_channel_are_not_delivered():
    assert Comet4jWire().message(message(b"x", channel="c4j")) == b""


@pytest.mark.parametrize("text", ['{"__proto__":1,"__proto__":2}', '[{"a":{"\\u005f_pr\\u006Fto__":1}}]'])
def test_a_property_that_scripts_treat_specially_is_sent_as_text(text):
    decoded = json.loads(unquote(Comet4jWire().message(message(text.encode(), "application/json"))[1:-1].decode()))
    assert decoded["data"] == text


def test_other_escapes_are_sent_as_they_are():
    encoded = Comet4jWire().message(message(b'{"a":"\\u00e9"}', "application/json"))
    assert json.loads(unquote(encoded[1:-1].decode()))["data"] == {"a": "\u00e9"}
