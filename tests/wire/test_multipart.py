"""Multipart streams: what a browser shows and a mail parser reads, and that publishers cannot forge parts."""

import re
from email.parser import BytesParser
from email.policy import HTTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.core.delivery import Batch, Delivery
from pushd.core.message import Gap
from pushd.wire.multipart import Mixed, Replace, ReplaceDocument, ReplaceSized, first_boundary
from tests.build import message

BOUNDARY = b"pushd0123"
GAP = Gap("a/ü", "E-1", "E-3", "evicted")


def sent(wire, *messages):
    """Encode messages one after the other, as for a subscriber. Return each write and the wire for the next message."""
    writes = []
    for each in messages:
        writes.append(Batch([Delivery(each)]).block(wire))
        wire = wire.after(each)
    return writes, wire


def made(seq, data, kind="image/png", channel="a", **fields):
    """Return a message, by default an image."""
    return message(seq, channel, data, content_type=kind, **fields)


def shown(stream):
    """Return the content type and body of the parts that a browser shows: it does not show empty ones."""
    parts = (b"\r\n" + stream).split(b"\r\n--" + BOUNDARY)[1:]
    found = []
    for part in parts:
        head, blank, body = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if blank and body:
            kind = re.search(rb"(?i)content-type: ([^\r]*)", b"\r\n" + head)
            assert kind is not None
            found.append((kind[1].decode(), body))
    return found


def test_image_is_followed_by_headers_of_next_image_in_same_write():
    (first, second), _ = sent(Replace(BOUNDARY), made(1, b"ONE"), made(2, b"TWO"))
    tail = b"\r\n--pushd0123\r\nContent-Type: image/png\r\n\r\n"
    assert first == b"Content-Type: image/png\r\n\r\nONE" + tail
    assert second == b"TWO" + tail


def test_document_is_followed_by_boundary_in_same_write():
    (first, second), _ = sent(Replace(BOUNDARY), made(1, b"one", "text/html"), made(2, b"two", "text/html"))
    assert first == b"Content-Type: text/html\r\n\r\none\r\n--pushd0123\r\n"
    assert second == first.replace(b"one", b"two")


@pytest.mark.parametrize("kind", ["image/jpeg", "text/html"])
def test_change_of_type_sends_message_in_open_part_and_in_new_part(kind):
    writes, _ = sent(Replace(BOUNDARY), made(1, b"ONE"), made(2, b"TWO", kind), made(3, b"THREE", kind))
    assert shown(first_boundary(BOUNDARY) + b"".join(writes)) == [
        ("image/png", b"ONE"),
        ("image/png", b"TWO"),
        (kind, b"TWO"),
        (kind, b"THREE"),
    ]


@pytest.mark.parametrize("kind", ["image/png", "text/html"])
def test_end_of_stream_keeps_last_part(kind):
    writes, wire = sent(Replace(BOUNDARY), made(1, b"ONE", kind))
    stream = first_boundary(BOUNDARY) + b"".join(writes) + wire.last()
    assert stream.endswith(b"\r\n--pushd0123--\r\n")
    assert shown(stream) == [(kind, b"ONE")]


@pytest.mark.parametrize("kind", ["image/png", "text/html"])
def test_pings_and_gaps_are_not_shown(kind):
    _, wire = sent(Replace(BOUNDARY), made(1, b"ONE", kind))
    between = wire.ping() + wire.gap(GAP) + wire.ping()
    (second,), _ = sent(wire, made(2, b"TWO", kind))
    begun = first_boundary(BOUNDARY) + sent(Replace(BOUNDARY), made(1, b"ONE", kind))[0][0]
    assert shown(begun + between + second) == [(kind, b"ONE"), (kind, b"TWO")]
    assert b"Pushd-Gap: a/%C3%BC E-1 E-3 evicted\r\n" in between


def test_ping_after_image_is_empty_so_the_image_is_sent_again():
    image = made(1, b"ONE")
    (first,), wire = sent(Replace(BOUNDARY), image)
    assert wire.ping() == b""
    assert shown(first_boundary(BOUNDARY) + first + Delivery(image).frame(wire)) == [("image/png", b"ONE")] * 2


def test_document_stream_sends_headers_with_their_part_and_no_empty_last_part():
    writes, wire = sent(ReplaceDocument(BOUNDARY), made(1, b"ONE"), made(2, b"two", "text/html"))
    assert writes == [
        b"Content-Type: image/png\r\n\r\nONE\r\n--pushd0123\r\n",
        b"Content-Type: text/html\r\n\r\ntwo\r\n--pushd0123\r\n",
    ]
    assert wire.last() == b"--pushd0123--\r\n"


def test_subscribers_in_the_same_state_share_frames():
    wire = Replace(BOUNDARY)
    first, second = made(1, b"ONE"), made(2, b"TWO")
    assert wire.after(first) is wire.after(second) is wire.after(first).after(second)
    delivery = Delivery(second)
    assert delivery.frame(wire.after(first)) is delivery.frame(wire.after(second))


FORGED = b"x\r\n--pushd0123\r\nContent-Type: text/html\r\n\r\n<script>"


@pytest.mark.parametrize("wire_class", [Replace, ReplaceDocument, ReplaceSized])
@pytest.mark.parametrize("before", [[], [made(1, b"ONE")], [made(1, b"one", "text/plain")]])
def test_gap_replaces_message_that_contains_boundary(wire_class, before):
    wire = wire_class(BOUNDARY)
    for each in before:
        wire = wire.after(each)
    forged = made(2, FORGED)
    assert wire.message(forged) == wire.gap(Gap("a", "E-1", "E-2", "boundary"))
    assert b"Pushd-Gap: a E-1 E-2 boundary\r\n" in wire.message(forged)
    assert wire.after(forged) is wire


def test_messages_around_one_that_contains_boundary_are_shown():
    writes, _ = sent(Replace(BOUNDARY), made(1, b"ONE"), made(2, FORGED), made(3, b"THREE"))
    stream = first_boundary(BOUNDARY) + b"".join(writes)
    assert shown(stream) == [("image/png", b"ONE"), ("image/png", b"THREE")]


def sized_parts(stream):
    """Return the headers and body of each part, read by length alone as clients of cameras do."""
    parts: list[tuple[dict[bytes, bytes], bytes]] = []
    while True:
        line, _, stream = stream.partition(b"\r\n")
        if line == b"--" + BOUNDARY + b"--":
            assert stream == b""
            return parts
        assert line == b"--" + BOUNDARY
        head, _, stream = stream.partition(b"\r\n\r\n")
        headers = dict(each.split(b": ", 1) for each in head.split(b"\r\n"))
        size = int(headers[b"Content-Length"])
        parts.append((headers, stream[:size]))
        assert stream[size : size + 2] == b"\r\n"
        stream = stream[size + 2 :]


def test_sized_stream_has_the_length_of_each_part_and_an_empty_last_one():
    wire = ReplaceSized(BOUNDARY)
    head = first_boundary(BOUNDARY) + wire.ping() + wire.gap(GAP)
    writes, wire = sent(wire, made(1, b"ONE"), made(2, b"two\r\n", "text/plain"), made(3, b"\r\n--pushd\r\n"))
    assert writes[0] == b"Content-Type: image/png\r\nContent-Length: 3\r\n\r\nONE\r\n--pushd0123\r\n"
    parts = sized_parts(head + b"".join(writes) + wire.last())
    assert [(headers.get(b"Content-Type"), body) for headers, body in parts] == [
        (b"image/png", b"ONE"),
        (b"text/plain", b"two\r\n"),
        (b"image/png", b"\r\n--pushd\r\n"),
        (None, b""),
    ]
    assert parts[0][0][b"Pushd-Gap"] == b"a/%C3%BC E-1 E-3 evicted"


def test_sized_stream_without_a_message_ends_with_an_empty_part():
    wire = ReplaceSized(BOUNDARY)
    assert sized_parts(first_boundary(BOUNDARY) + wire.last()) == [({b"Content-Length": b"0"}, b"")]


def test_ping_of_sized_stream_repeats_the_part_once_there_is_one():
    wire = ReplaceSized(BOUNDARY)
    assert wire.ping() == b"Pushd-Ping: 1\r\n"
    forged = made(1, b"--pushd0123")
    assert wire.after(forged).ping() == wire.ping()
    following = wire.after(made(1, b"ONE"))
    assert following.ping() == b""
    assert following is wire.after(made(2, b"TWO")) is following.after(made(3, b"THREE"))


def test_every_part_of_a_mixed_stream_has_its_length():
    wire = Mixed(BOUNDARY)
    writes, _ = sent(wire, made(1, b"ONE"))
    stream = first_boundary(BOUNDARY) + wire.ping() + wire.gap(GAP) + writes[0] + wire.end("a") + wire.last()
    assert [body for _, body in sized_parts(stream)] == [b"", b"ONE", b""]


def read(stream):
    """Return the parts of a mixed stream, read by the parser of the standard library."""
    head = b"Content-Type: multipart/mixed;boundary=" + BOUNDARY + b"\r\n\r\n"
    parsed = BytesParser(policy=HTTP).parsebytes(head + stream)
    assert not parsed.defects
    return list(parsed.iter_parts())


@given(st.lists(st.tuples(st.binary(), st.sampled_from(["image/png", "application/octet-stream", "application/x"]))))
def test_mail_parser_reads_every_part_as_published(published):
    messages = [made(seq, data, kind) for seq, (data, kind) in enumerate(published, 1)]
    writes, wire = sent(Mixed(BOUNDARY), *messages)
    parts = read(first_boundary(BOUNDARY) + b"".join(writes) + wire.last())[:-1]
    assert [part["Pushd-Id"] for part in parts] == [each.id for each in messages]
    for part, each in zip(parts, messages, strict=True):
        assert part["Content-Type"] == each.content_type
        # The parser splits bodies into lines, so only the length is compared.
        assert part["Content-Length"] == str(len(each.data))


def test_part_has_length_id_channel_and_event():
    (write,), _ = sent(Mixed(BOUNDARY), made(7, b"data", "text/plain", channel="ä/b", event="e v\u00fc%"))
    assert write == (
        b"Content-Type: text/plain\r\nContent-Length: 4\r\nPushd-Id: E-7\r\nPushd-Channel: %C3%A4/b\r\n"
        b"Pushd-Event: e%20v%C3%BC%25\r\n\r\ndata\r\n--pushd0123\r\n"
    )


def test_body_that_contains_boundary_is_base64():
    data = b"x\r\n--pushd0123--\r\n"
    writes, wire = sent(Mixed(BOUNDARY), made(1, data), made(2, b"after"))
    first, second = read(first_boundary(BOUNDARY) + b"".join(writes) + wire.last())[:2]
    assert first.get_payload(decode=True) == data
    assert second.get_payload(decode=True) == b"after"


def test_gaps_and_ends_of_mixed_stream_are_headers_of_next_part():
    wire = Mixed(BOUNDARY)
    (write,), _ = sent(wire, made(1, b"x"))
    stream = first_boundary(BOUNDARY) + wire.gap(GAP) + write + wire.end("a/ü") + wire.last()
    first, last = read(stream)
    assert first["Pushd-Gap"] == "a/%C3%BC E-1 E-3 evicted"
    assert (last["Pushd-End"], last.get_payload()) == ("a/%C3%BC", "")


def test_ping_of_mixed_stream_is_an_empty_part():
    wire = Mixed(BOUNDARY)
    stream = first_boundary(BOUNDARY) + wire.ping() * 200 + sent(wire, made(1, b"x"))[0][0] + wire.last()
    *pings, part, _ = read(stream)
    assert [(each["Pushd-Ping"], each.get_payload()) for each in pings] == [("1", "")] * 200
    assert part.get_payload(decode=True) == b"x"
