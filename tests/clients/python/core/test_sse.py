"""The parser of server-sent events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pushd_client.core.sse import Event, EventParser, Retry
from pushd_client.errors import PushdError


def parse(stream: bytes, *cuts: int) -> list[Event | Retry]:
    """Return the events of a stream that arrives in pieces."""
    parser, events = EventParser(1 << 20), list[Event | Retry]()
    for start, end in zip((0, *cuts), (*cuts, len(stream)), strict=True):
        events += parser.feed(stream[start:end])
    return events


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [Event("a")]),
        (b"data:a\ndata: b\r\rdata\r\n\r\n", [Event("a\nb"), Event("")]),
        (b":\nretry: 3000\nid: x\nevent: y\ndata:  z\n\n", [Retry(3.0), Event(" z")]),
        (b"event: y\n\nid: 1\n\n", []),
        (b"data: incomplete\n", []),
        (b"retry: -1\nretry: x\nretry:\nretry: 12345678901\n", []),
        ("\ufeffdata: ü\n\n".encode(), [Event("ü")]),
        (b"data: a\x0bb\x1cc\xc2\x85d\n\n", [Event("a\x0bb\x1cc\x85d")]),
    ],
)
def test_events_are_parsed(stream, events):
    assert parse(stream) == events


@given(st.data())
def test_pieces_make_no_difference(data):
    lines = st.sampled_from(["data: ä", "data", "data:", "retry: 5", ":", "", "id: 1", "event: x"])
    text = "".join(
        data.draw(st.lists(st.tuples(lines, st.sampled_from(["\n", "\r\n", "\r"])).map("".join), max_size=12))
    )
    stream = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    assert parse(stream, *cuts) == parse(stream)


@pytest.mark.parametrize("stream", [b"data: " + b"x" * 101, b"data: 0123456789\n" * 11, b":" + b"x" * 101])
def test_event_that_is_too_large_is_refused(stream):
    parser = EventParser(100)
    with pytest.raises(PushdError, match="must not exceed 100 characters"):
        for index in range(len(stream)):
            parser.feed(stream[index : index + 1])
