"""Commands and replies of ``pushd.v1``: any input is parsed or refused, and the reply repeats its ``ref``."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from pushd.core.command import (
    Authenticate,
    Command,
    Ping,
    Pong,
    Published,
    PublishMessage,
    Replied,
    RequestRefused,
    SendHeartbeat,
    SendRequest,
    Subscribe,
    Subscribed,
    Unsubscribe,
)
from pushd.core.cursor import NOW, Last, MessageId, Time
from pushd.core.errors import BadJson, BadParameter, BadSince, BadTopic, Forbidden, NoReply, Refusal, UnknownCommand
from pushd.core.message import draft
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
        *(
            "subscribe",
            "unsubscribe",
            "publish",
            "request",
            "ping",
            "auth",
            "since",
            "slow",
            "responder",
            "timeout",
            "ref",
        ),
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
        ('{"heartbeat":"a","ts":999999999999999}', SendHeartbeat("a", 999999999999999)),
        ('{"subscribe":"a,b/*"}', Subscribe(("a", "b/*"), NOW, None)),
        ('{"subscribe":"a","since":"last:2","slow":"latest"}', Subscribe(("a",), Last(2), Policy.LATEST)),
        ('{"subscribe":"a","since":1763751574.5}', Subscribe(("a",), Time(1763751574.5), None)),
        ('{"subscribe":"a/*","responder":true}', Subscribe(("a/*",), NOW, None, responder=True)),
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
        ('{"request":"a"}', BadJson),
        ('{"request":"a","data":1,"timeout":"1"}', BadJson),
        ('{"request":"a","data":1,"timeout":60.5}', BadParameter),
        ('{"request":"a","data":1,"ttl":1}', BadParameter),
        ('{"request":"a","data":1,"end":true}', BadParameter),
        ('{"request":"$reply/x","data":1}', Forbidden),
        ('{"heartbeat":"a","ts":-1}', BadParameter),
        ('{"heartbeat":"a","ts":1000000000000000}', BadParameter),
        ('{"heartbeat":"a","ts":99999999999999999999999}', BadParameter),
        ('{"subscribe":"a b"}', BadTopic),
        ('{"subscribe":"a","since":-1}', BadSince),
        ('{"subscribe":"a","since":1e300}', BadSince),
    ],
)
def test_invalid_input_is_refused_with_its_class(text: str, refusal: type[Refusal]) -> None:
    with pytest.raises(refusal):
        CommandFrame(text.encode()).command(LIMITS)


def test_request_is_parsed_as_documented() -> None:
    for text, seconds in (("", 10), (',"timeout":0', 0), (',"timeout":1.5', 1.5)):
        command = CommandFrame(f'{{"request":"a","data":{{"b":1}},"event":"e"{text}}}'.encode()).command(LIMITS)
        assert isinstance(command, SendRequest)
        made = command.draft
        assert (made.channel, made.data, made.event, command.timeout) == ("a", b'{"b":1}', "e", seconds)


@pytest.mark.parametrize(
    ("data", "kind", "sender", "fields"),
    [
        (b'{"a": 1}', "application/json", None, {"content_type": "application/json", "data": {"a": 1}}),
        (b"x\ny", None, "alice", {"content_type": "text/plain; charset=utf-8", "data": "x\ny", "from": "alice"}),
        (b"\xff", None, None, {"content_type": "application/octet-stream", "data_base64": "/w=="}),
    ],
)
def test_reply_to_a_request_has_the_fields_of_a_message(
    data: bytes, kind: str | None, sender: str | None, fields: dict[str, object]
) -> None:
    reply = structs.replace(draft("$reply/x", data, kind), sender=sender)
    assert answer(encode_reply(Replied(3, "a", reply), msgspec.Raw(b"7"))) == {
        "ref": 7,
        "ok": True,
        "request": "a",
        **fields,
    }


def test_refused_request_has_its_ref() -> None:
    reply = answer(encode_reply(RequestRefused(3, NoReply("too late")), msgspec.Raw(b"7")))
    assert reply == {"ref": 7, "error": {"code": "no-reply", "message": "too late"}}


def test_subscribe_reply_names_topics() -> None:
    reply = answer(encode_reply(Subscribed(("a", "b/*"), None, MessageId("E", 7), "c0")))
    assert (reply["subscribe"], reply["cursor"], reply["connection"]) == ("a,b/*", "E-7", "c0")
