"""Envelopes of Bayeux."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.core.errors import BadJson, BadParameter, Refusal, TooLarge
from pushd.dialects.bayeux.envelope import (
    MAX_MESSAGES,
    ClientMessage,
    Malformed,
    array,
    callback_name,
    form_messages,
    joined,
    parse,
    script,
)


def test_one_message_or_an_array_is_an_envelope():
    assert [each.channel for each in parse(b'{"channel":"/a"}')] == ["/a"]
    assert [each.channel for each in parse(b' [{"channel":"/a"},{"channel":"/b"}]')] == ["/a", "/b"]


@pytest.mark.parametrize("body", [b"", b"[]", b"x", b"[1", b"\xff", b"[" * 100_000, b'[{"channel":"\xff"}]', b"{}x"])
def test_what_is_no_json_is_refused(body):
    with pytest.raises(BadJson):
        parse(body)


def test_envelope_with_too_many_messages_is_refused():
    assert len(parse(b"[" + b",".join([b"{}"] * MAX_MESSAGES) + b"]")) == MAX_MESSAGES
    with pytest.raises(TooLarge):
        parse(b"[" + b",".join([b"{}"] * (MAX_MESSAGES + 1)) + b"]")


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ({"channel": 1, "id": "7"}, (None, "7")),
        ({"channel": "/a", "id": "7", "clientId": 1}, ("/a", "7")),
        ({"channel": "/a", "id": []}, ("/a", None)),
        ({"channel": "/a", "id": "x" * 65}, (None, None)),
        ({"channel": "/" + "a" * 512, "id": "7"}, (None, "7")),
        ({"channel": "/meta/subscribe", "id": "7", "subscription": ["/a"] * 1001}, ("/meta/subscribe", "7")),
        ({"channel": "/meta/subscribe", "id": "7", "subscription": 1}, ("/meta/subscribe", "7")),
        (1, (None, None)),
        (None, (None, None)),
    ],
)
def test_one_message_that_is_not_valid_does_not_affect_the_others(message, named):
    bad, good = parse(json.dumps([message, {"channel": "/b"}]).encode())
    assert isinstance(bad, Malformed)
    assert (bad.channel, bad.id) == named
    assert isinstance(good, ClientMessage)
    assert good.channel == "/b"


def test_id_keeps_its_type():
    assert [message.id for message in parse(b'[{"id":"7"},{"id":7},{}]')] == ["7", 7, None]


def test_messages_of_a_form_are_joined():
    body = b"message=%7B%22channel%22%3A%22%2Fa%22%7D&message=%5B%7B%22channel%22%3A%22%2Fb%22%7D%5D"
    assert [message.channel for message in parse(form_messages(body))] == ["/a", "/b"]
    for bad in (b"", b"x=1", b"\xff", b"message"):
        with pytest.raises(BadJson):
            form_messages(bad)
    with pytest.raises(BadJson):
        joined([b"{}", b"x"])


@pytest.mark.parametrize("name", ["f", "parent.f", "$_1.a2", "a" * 128])
def test_name_of_a_function_is_accepted(name):
    assert script(callback_name(name), b"[]") == b"/**/" + name.encode() + b"([]);"


@pytest.mark.parametrize("name", ["", "1a", "a.", ".a", "a..b", "a()", "a;b", "a b", "a\n", "á", "a" * 129, "a[0]"])
def test_what_is_not_the_name_of_a_function_is_refused(name):
    with pytest.raises(BadParameter):
        callback_name(name)


def test_name_of_the_function_has_a_default():
    assert callback_name(None) == b"jsonpcallback"


def test_array_leaves_out_what_is_empty():
    assert array([b"", b"1", b"2,3", b""]) == b"[1,2,3]"


@given(st.binary())
def test_any_envelope_is_parsed_or_refused(body):
    try:
        messages = parse(body)
    except Refusal:
        return
    assert 1 <= len(messages) <= MAX_MESSAGES
    for message in messages:
        assert len(str(message.id or "")) <= 64


@given(st.binary())
def test_any_form_is_parsed_or_refused(body):
    try:
        form_messages(body)
    except Refusal:
        return
