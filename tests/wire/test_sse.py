"""Server-sent events, decoded by a parser written from the text of the standard."""

import base64
import json
import re
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.core.errors import Refusal
from pushd.core.message import Gap, Message, draft
from pushd.wire.sse import PREAMBLE, Sse, SseJson
from tests.build import message

WICKED = st.lists(
    st.sampled_from(["\r", "\n", "\r\n", ":", " ", "id", "data", "event", "retry", "E-9", "\ufeff", "\0", "\x85"])
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
).map("".join)
"""Text that tries to forge a field."""


@dataclass
class EventSource:
    """A parser of event streams (WHATWG HTML, section 9.2.6)."""

    last_event_id: str = ""
    retry: int | None = None
    events: list[tuple[str, str, str]] = field(default_factory=list)
    """Type, data and last event id of each dispatched event."""

    def read(self, stream: bytes) -> "EventSource":
        text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
        data, kind, last_id = "", "", self.last_event_id
        for line in re.findall(r"([^\r\n]*)(?:\r\n|\r|\n)", text):
            if not line:
                self.last_event_id = last_id
                if data:
                    self.events.append((kind or "message", data.removesuffix("\n"), last_id))
                data, kind = "", ""
            elif not line.startswith(":"):
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if name == "event":
                    kind = value
                elif name == "data":
                    data += value + "\n"
                elif name == "id" and "\0" not in value:
                    last_id = value
                elif name == "retry" and re.fullmatch("[0-9]+", value):
                    self.retry = int(value)
        return self


def read(*sent: Message, wire: Sse | None = None) -> list[tuple[str, str, str]]:
    chosen = wire or Sse()
    return EventSource().read(chosen.block([chosen.message(each) for each in sent])).events


def test_message_is_encoded_as_documented() -> None:
    assert Sse().message(message(7, data=b"one\ntwo", event="update")) == (
        b"id: E-7\nevent: update\ndata: one\ndata: two\n\n"
    )
    assert Sse().message(message(7)) == b"id: E-7\ndata: x\n\n"


@pytest.mark.parametrize(
    ("data", "received"),
    [
        (b"", ""),
        (b"plain", "plain"),
        (b" one blank stays", " one blank stays"),
        (b"a\nb", "a\nb"),
        (b"a\rb", "a\nb"),
        (b"a\r\nb", "a\nb"),
        (b"a\r\r\n\nb", "a\n\n\nb"),
        (b"\n", "\n"),
        (b"\n\n", "\n\n"),
        (b"ends\n", "ends\n"),
        (b":no comment", ":no comment"),
        (b"x\n\nid: F-9\ndata: forged\n\n", "x\n\nid: F-9\ndata: forged\n\n"),
        ("\ufeffmark".encode(), "\ufeffmark"),
        ("a\u2028b\u0085c".encode(), "a\u2028b\u0085c"),
        (b"\xff\x00\n", base64.b64encode(b"\xff\x00\n").decode()),
    ],
)
def test_line_ends_arrive_as_lf_and_binary_as_base64(data: bytes, received: str) -> None:
    assert read(message(7, data=data), message(8)) == [("message", received, "E-7"), ("message", "x", "E-8")]


@given(st.lists(st.tuples(WICKED, st.none() | WICKED), min_size=1, max_size=3))
def test_data_and_event_cannot_forge_fields_ids_or_events(
    sent: list[tuple[str, str | None]],
) -> None:
    messages: list[Message] = []
    for data, event in sent:
        try:
            draft("a", data.encode(), event=event)
        except Refusal:
            event = None
        messages.append(message(len(messages) + 1, data=data.encode(), event=event))
    source = EventSource()
    source.read(PREAMBLE % 3000 + Sse().block([Sse().message(each) for each in messages]))
    assert source.events == [
        (each.event or "message", re.sub("\r\n|\r", "\n", each.data.decode()), each.id) for each in messages
    ]
    assert source.retry == 3000


@given(st.binary())
def test_any_bytes_are_one_message_event(data: bytes) -> None:
    sent = message(7, data=data)
    stream = Sse().message(sent)
    assert b"\r" not in stream
    ((kind, received, last_id),) = EventSource().read(stream).events
    assert (kind, last_id) == ("message", "E-7")
    if sent.encoding == "binary":
        assert base64.b64decode(received) == data


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_format_has_json_message_as_data(text: str) -> None:
    ((kind, received, last_id),) = read(message(7, data=text.encode(), event="update"), wire=SseJson())
    assert (kind, last_id) == ("update", "E-7")
    shown = json.loads(received)
    assert (shown["id"], shown["data"], shown["event"]) == ("E-7", text, "update")


@pytest.mark.parametrize("wire", [Sse(), SseJson()])
def test_gaps_and_ends_are_events_that_do_not_move_the_cursor(wire: Sse) -> None:
    source = EventSource().read(wire.message(message(7)))
    source.read(wire.block([wire.gap(Gap("a", "E-7", "E-9", "slow")), wire.ping(), wire.end("a")]))
    _, gap, end = source.events
    assert (gap[0], end[0]) == ("gap", "end")
    assert json.loads(gap[1]) == {"type": "gap", "topic": "a", "from": "E-7", "to": "E-9", "reason": "slow"}
    assert json.loads(end[1]) == {"type": "end", "channel": "a"}
    assert source.last_event_id == "E-7"
    assert not wire.data_only


@pytest.mark.parametrize("wire", [Sse(), SseJson()])
def test_only_messages_have_an_id(wire: Sse) -> None:
    frames = (wire.gap(Gap("a", "E-7", "E-9", "slow")), wire.ping(), wire.end("a"), PREAMBLE % 3000)
    assert not any(line.startswith(b"id") for frame in frames for line in frame.splitlines())


def test_ping_is_a_comment() -> None:
    assert EventSource().read(Sse().ping() * 3).events == []
    assert Sse().ping().startswith(b":")


def test_preamble_is_a_comment_and_retry_without_a_block() -> None:
    assert PREAMBLE % 3000 == b":\nretry: 3000\n"
    source = EventSource().read(PREAMBLE % 3000 + Sse().message(message(7)))
    assert source.retry == 3000
    assert source.events == [("message", "x", "E-7")]
