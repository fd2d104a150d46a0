"""Commands and replies of ``pushd.v1``: any input is parsed or refused, and the reply repeats its ``ref``."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.core.command import (
    Authenticate,
    Command,
    Ping,
    Pong,
    Published,
    PublishMessage,
    Subscribe,
    Subscribed,
    Unsubscribe,
)
from pushd.core.cursor import NOW, Last, MessageId, Time
from pushd.core.errors import BadJson, BadSince, BadTopic, Refusal, UnknownCommand
from pushd.core.outbox import Policy
from pushd.wire.line_commands import CommandLimits
from pushd.wire.websocket_commands import CommandFrame, encode_refusal, encode_reply
from tests.wire.malicious import DATA, WORDS, some
from tests.wire.test_websocket_frames import read as frames_of

LIMITS = CommandLimits(data=1000, event=255, topics=10)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(
    [
        *("subscribe", "unsubscribe", "publish", "ping", "auth", "since", "slow", "ref"),
        *("data", "data_base64", "content_type", "event", "ttl", "end", "channel"),
    ]
)
GOOD = st.sampled_from(["a", "a/*,b", "all", "last:2", "drop", "text/html", "AA==", 5, True, ""])


def answer(frame: bytes) -> Any:
    """Return the JSON of a reply, which is one text frame."""
    ((opcode, payload),) = frames_of(frame)
    assert opcode == 1
    return json.loads(payload.decode())


@some
@given(st.dictionaries(KEYS | WORDS, GOOD | VALUES, max_size=5).map(json.dumps).map(str.encode) | DATA)
def test_any_text_is_parsed_or_refused_with_its_ref(text: bytes) -> None:
    try:
        ask = CommandFrame(text)
    except BadJson as refusal:
        assert answer(encode_refusal(refusal))["ref"] is None
        return
    ref = json.loads(text).get("ref")
    reply = answer(encode_reply(Published("E-1", 0), ask.ref))
    assert reply == {"ref": ref, "ok": True, "id": "E-1", "subscribers": 0}
    try:
        ask.command(LIMITS)
    except Refusal as refusal:
        reply = answer(encode_refusal(refusal, ask.ref))
        assert (reply["ref"], reply["error"]) == (ref, {"code": refusal.code, "message": str(refusal)})
        assert len(str(refusal).splitlines()) == 1


@some
@given(VALUES, VALUES)
def test_any_ping_and_ref_are_repeated(token: Any, ref: Any) -> None:
    ask = CommandFrame(json.dumps({"ping": token, "ref": ref}).encode())
    command = ask.command(LIMITS)
    assert isinstance(command, Ping)
    assert answer(encode_reply(Pong(command.token), ask.ref)) == {"ref": ref, "ok": True, "pong": token}


@some
@given(WORDS)
def test_any_text_is_published_unchanged(text: str) -> None:
    command = CommandFrame(json.dumps({"publish": "a/b", "data": text}).encode()).command(LIMITS)
    assert isinstance(command, PublishMessage)
    assert (command.draft.channel, command.draft.data) == ("a/b", text.encode())


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ('{"subscribe":"a,b/*"}', Subscribe(("a", "b/*"), NOW, None)),
        ('{"subscribe":"a","since":"last:2","slow":"latest"}', Subscribe(("a",), Last(2), Policy.LATEST)),
        ('{"subscribe":"a","since":1763751574.5}', Subscribe(("a",), Time(1763751574.5), None)),
        ('{"unsubscribe":"a","ref":[1]}', Unsubscribe(("a",))),
        ('{"auth":"secret"}', Authenticate("secret")),
    ],
)
def test_commands_are_parsed_as_documented(text: str, command: Command) -> None:
    assert CommandFrame(text.encode()).command(LIMITS) == command


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("{}", UnknownCommand),
        ('{"ref":1}', UnknownCommand),
        ('{"subscribe":1}', BadJson),
        ('{"subscribe":"a","ping":1}', BadJson),
        ('{"publish":"a","channel":"b","data":1}', BadJson),
        ('{"subscribe":"a b"}', BadTopic),
        ('{"subscribe":"a","since":-1}', BadSince),
        ('{"subscribe":"a","since":1e300}', BadSince),
    ],
)
def test_invalid_input_is_refused_with_its_class(text: str, refusal: type[Refusal]) -> None:
    with pytest.raises(refusal):
        CommandFrame(text.encode()).command(LIMITS)


def test_subscribe_reply_names_topics() -> None:
    reply = answer(encode_reply(Subscribed(("a", "b/*"), None, MessageId("E", 7), "c0")))
    assert (reply["subscribe"], reply["cursor"], reply["connection"]) == ("a,b/*", "E-7", "c0")
