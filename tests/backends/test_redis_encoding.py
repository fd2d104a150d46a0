"""The encoding of messages in Redis: nodes of two versions that run next to each other read each other's messages."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from pushd.backends.redis.encoding import decode_message, encode_draft
from pushd.core.message import Draft, draft

HEAD = b"m E 2 1 1500\n"
"""What the script prepends."""


class FormerBody(msgspec.Struct, array_like=True):
    """The published fields as a node reads them that has no authentication."""

    channel: str
    data: bytes
    content_type: str
    form: str
    event: str | None
    end: bool


def body_of(sent: Draft) -> bytes:
    """Return the body of a message as it is in Redis."""
    packed = encode_draft(sent, 0)[1]
    assert isinstance(packed, msgspec.Raw)
    return bytes(packed)[5:]


@given(st.none() | st.text(max_size=255), st.binary(), st.none() | st.just("event"), st.booleans())
def test_any_message_round_trips(sender: str | None, data: bytes, event: str | None, end: bool) -> None:
    sent = structs.replace(draft("a/b", data, event=event, end=end), sender=sender)
    message = decode_message(HEAD + body_of(sent))
    for name in ("channel", "data", "content_type", "encoding", "event", "end", "sender"):
        assert getattr(message, name) == getattr(sent, name)
    assert (message.id, message.prev, message.time, message.is_local) == ("E-2", "E-1", 1.5, False)


@pytest.mark.parametrize("sender", [None, "alice"])
def test_former_node_reads_everything_but_the_sender(sender: str | None) -> None:
    sent = structs.replace(draft("a", b"\xff", event="e", end=True), sender=sender)
    former = msgspec.msgpack.decode(body_of(sent), type=FormerBody)
    assert (former.channel, former.data, former.event, former.end) == ("a", b"\xff", "e", True)


def test_message_of_a_former_node_has_no_sender() -> None:
    former = msgspec.msgpack.encode(FormerBody("a", b"x", "text/plain", "text", None, False))
    message = decode_message(HEAD + former)
    assert (message.channel, message.data, message.sender) == ("a", b"x", None)
    assert body_of(draft("a", b"x", "text/plain")) == former, "without a sender nothing is added"
