"""Messages: what a publisher may send, how it is encoded, and its size."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.core.charsets import CODECS
from pushd.core.errors import BadContentType, BadEvent, BadJson, BadTtl
from pushd.core.message import BINARY, JSON, TEXT, Draft, Gap, Message, draft, main_reason
from tests.build import message

MEDIA_WORDS = ["text/plain", "a/b", "/", ";", " ", "\t", "=", '"', "charset=utf-8", "\\", "\r\n", ",", "\x85", "é"]


@pytest.mark.parametrize(
    ("content_type", "data", "kind", "form"),
    [
        (None, b"plain", TEXT, "text"),
        (None, b"", TEXT, "text"),
        (None, "grüezi".encode(), TEXT, "text"),
        (None, b'{"a":1}', TEXT, "text"),
        (None, b"\xff\xfe", BINARY, "binary"),
        (JSON, b'{"a":1}', JSON, "json"),
        (JSON, b" \r\n[1]\n", JSON, "json"),
        (JSON, b"null", JSON, "json"),
        ("Application/JSON; charset=utf-8", b"1", "Application/JSON; charset=utf-8", "json"),
        ("application/problem+json", b'{"a":1}', "application/problem+json", "text"),
        ("application/problem+json", b"no json", "application/problem+json", "text"),
        ("text/html", b"<p>", "text/html", "text"),
        ("text/html", b"<p>\xff", "text/html", "binary"),
        ("image/svg+xml", b"<svg/>", "image/svg+xml", "text"),
        ("application/xml", b"<a/>", "application/xml", "text"),
        ("application/javascript", b"1", "application/javascript", "text"),
        ("application/x-ndjson", b"{}\n{}", "application/x-ndjson", "text"),
        ("application/x-mine; charset=UTF-8", b"mine", "application/x-mine; charset=UTF-8", "text"),
        ("image/png", b"plain", "image/png", "binary"),
        (BINARY, b"plain", BINARY, "binary"),
    ],
)
def test_content_type_determines_encoding(content_type: str | None, data: bytes, kind: str, form: str) -> None:
    checked = draft("a", data, content_type)
    assert (checked.content_type, checked.encoding, checked.data) == (kind, form, data)


PICTURES = {
    "image/png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "image/jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF",
    "image/gif": b"GIF89a\x01\0\x01\0\x80\0\0",
    "image/webp": b"RIFF\xfc\0\0\0WEBPVP8 ",
    "image/bmp": b"BM\xf6\0\0\0\0\0\0\0\x36\0\0\0",
    "image/avif": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1\xff",
}
"""The beginning of a file of each type."""


@pytest.mark.parametrize("kind", PICTURES)
def test_picture_without_a_type_gets_its_type(kind: str) -> None:
    data = PICTURES[kind]
    assert (draft("a", data).content_type, draft("a", data).encoding) == (kind, "binary")
    assert draft("a", data, BINARY).content_type == BINARY
    assert draft("a", b"x" + data).content_type == BINARY


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG",
        b"\xff\xd8",
        b"GIF87\xff",
        b"RIFF\xff\0\0\0WAVE",
        b"BM\xff",
        b"BM 100 \xff 100 100",
        b"\0\0\0\x1cftypmp42\xff",
    ],
)
def test_other_bytes_without_a_type_are_binary(data: bytes) -> None:
    assert draft("a", data).content_type == BINARY


def test_text_that_begins_like_a_picture_is_text() -> None:
    assert draft("a", b"GIF89a is a format").content_type == TEXT
    assert draft("a", b"<svg/>").content_type == TEXT


@given(st.binary())
def test_only_utf8_is_encoded_as_text(data: bytes) -> None:
    for content_type in (None, "text/plain", "application/xml", "image/png; charset=utf-8"):
        if draft("a", data, content_type).encoding == "text":
            data.decode("utf-8")


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/plain;charset=utf-8",
        "text/plain ; charset=utf-8 ; format=flowed",
        "text/plain;",
        "text/html;;charset=utf-8",
        r'multipart/mixed; boundary="a \"b;c\\"',
        'multipart/mixed; boundary="a b;c"',
        "application/vnd.api+json",
        "x/" + "y" * 253,
    ],
)
def test_valid_media_type_is_unchanged(content_type: str) -> None:
    assert draft("a", b"x", content_type).content_type == content_type


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text",
        "text/",
        "/plain",
        "text /plain",
        "text/pl ain",
        "text/plain charset=utf-8",
        "text/plain; charset",
        "text/plain; charset=",
        "text/plain\n",
        "text/plain\r\nX-Forged: 1",
        "text/plain; a=b\r\nX-Forged: 1",
        'text/plain; a="b\r\nX-Forged: 1"',
        'text/plain; a="b',
        "text/plain\x00",
        "text/pläin",
        'text/plain; a="ä"',
        "text/plain, text/html",
        "x/" + "y" * 254,
    ],
)
def test_invalid_media_type_is_refused(content_type: str) -> None:
    with pytest.raises(BadContentType):
        draft("a", b"x", content_type)


@pytest.mark.parametrize(
    ("given", "data", "kept", "stored"),
    [
        ("text/plain; charset=iso-8859-1", b"gr\xfcezi", "text/plain; charset=utf-8", "grüezi"),
        ('text/html;; Charset="Latin1"; a=b', b"\xfc", "text/html;; Charset=utf-8; a=b", "ü"),
        ("text/plain; charset=windows-1252", b"\x80", "text/plain; charset=utf-8", "€"),
        ("text/csv; charset=Shift_JIS", "日本".encode("shift_jis"), "text/csv; charset=utf-8", "日本"),
        ("application/xml; charset=utf-16", "<ü/>".encode("utf-16"), "application/xml; charset=utf-8", "<ü/>"),
        ("application/problem+json; charset=koi8-r", b"\xc1", "application/problem+json; charset=utf-8", "а"),
        ("text/plain; charset=us-ascii", b"x", "text/plain; charset=utf-8", "x"),
        ("text/plain; charset=UTF8", "ü".encode(), "text/plain; charset=UTF8", "ü"),
        ('text/plain; charset="utf-8"', "ü".encode(), 'text/plain; charset="utf-8"', "ü"),
    ],
)
def test_text_of_a_known_charset_is_stored_as_utf8(given: str, data: bytes, kept: str, stored: str) -> None:
    checked = draft("a", data, given)
    assert (checked.content_type, checked.data.decode(), checked.encoding) == (kept, stored, "text")


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        ("text/plain; charset=x-unknown", b"x"),
        ("text/plain; charset=zlib", b"x"),
        ("text/plain; charset=punycode", b"x"),
        ("text/plain; charset=us-ascii", "ü".encode()),
        ("text/plain; charset=windows-1252", b"\x81"),
        ("text/plain; charset=shift_jis", b"\xff"),
        ("text/plain; charset=utf-16", b"x"),
        ("text/plain; charset=utf-16le", b"\x00\xd8"),
        ("text/plain; charset=utf-8", b"\xff"),
        ("image/png; charset=iso-8859-1", b"\x89PNG"),
        ("application/pdf; charset=iso-8859-1", b"%PDF\xfc"),
        ('application/x-mine; a="charset=utf-8"', b"x"),
    ],
)
def test_data_that_is_no_text_of_its_charset_is_binary_and_unchanged(content_type: str, data: bytes) -> None:
    checked = draft("a", data, content_type)
    assert (checked.content_type, checked.data, checked.encoding) == (content_type, data, "binary")


@pytest.mark.parametrize("label", CODECS)
def test_each_codec_decodes_text(label: str) -> None:
    made = draft("a", "text".encode(CODECS[label]), f"text/plain; charset={label.upper()}")
    assert (made.data, made.content_type) == (b"text", TEXT)


def test_json_is_utf8_whatever_the_charset() -> None:
    with pytest.raises(BadJson, match="not valid UTF-8"):
        draft("a", b'"\xfc"', "application/json; charset=iso-8859-1")
    assert draft("a", b"1", "application/json; charset=iso-8859-1").encoding == "json"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xef\xbb\xbf1", "byte order mark"),
        ("1".encode("utf-16"), "not valid UTF-8"),
        (b'{"a":"\\ud800"}', "surrogate"),
        (b'"\\ud800x"', "surrogate"),
        (b'"\\udc00"', "surrogate"),
        (b'"\\\\\\ud83d\\ude00\\uDE00 more text follows"', "surrogate"),
        (b"[1e400]", "out of range"),
        (b"1" * 5000, "out of range"),
        (b'"\xff"', "not valid UTF-8"),
        (b"[1,]", "trailing comma"),
        (b"{", "truncated"),
        (b'"\\ud83d\\ude00', "truncated"),
        (b"[" * 100_000, "nested"),
    ],
    ids=lambda value: repr(value[:16]),
)
def test_refusal_of_json_names_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(BadJson, match=reason) as refusal:
        draft("a", data, JSON)
    assert len(str(refusal.value).splitlines()) == 1 and len(str(refusal.value)) < 200


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"no json",
        b"{'a':1}",
        b"NaN",
        b"1 2",
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"a\nb"',
        b'"\\q"',
        b"\xef\xbb\xbf1",
        b"[" * 100_000,
        b'{"\xff":1}',
    ],
    ids=lambda data: repr(data[:16]),
)
def test_invalid_json_is_refused(data: bytes) -> None:
    with pytest.raises(BadJson):
        draft("a", data, JSON)


@pytest.mark.parametrize("event", ["update", "ü" * 127 + "x", "x" * 255, " spaced out ", "id: 7", "\u2028"])
def test_valid_event_type_is_unchanged(event: str) -> None:
    assert draft("a", b"x", event=event).event == event


@pytest.mark.parametrize("event", [None, ""])
def test_empty_event_type_is_none(event: str | None) -> None:
    assert draft("a", b"x", event=event).event is None


@pytest.mark.parametrize(
    "event", ["a\nid: 7", "a\r", "a\x00", "a\x1f", "\x7f", "x" * 256, "ü" * 128, "\ud800", "a\udfff"]
)
def test_event_type_that_is_too_long_or_has_control_characters_is_refused(event: str) -> None:
    with pytest.raises(BadEvent):
        draft("a", b"x", event=event)


def test_event_type_limit_is_configurable() -> None:
    assert draft("a", b"x", event="four", max_event=4).event == "four"
    with pytest.raises(BadEvent):
        draft("a", b"x", event="fives", max_event=4)


@given(st.lists(st.sampled_from(MEDIA_WORDS) | st.text(max_size=2), max_size=8).map("".join), st.text(max_size=20))
def test_accepted_types_and_events_fit_into_a_line(content_type: str, event: str) -> None:
    """Types are sent in headers and events in fields: neither may contain a line end."""
    try:
        kept = draft("a", b"1", content_type).content_type
        assert kept == content_type and kept.isascii() and kept.isprintable()
        assert kept.count("/") >= 1 and len(kept.splitlines()) == 1
    except BadContentType as refusal:
        assert len(str(refusal).splitlines()) == 1
    try:
        word = draft("a", b"1", event=event).event
        assert (word or "") == event and not re.search(r"[\x00-\x1f\x7f-\x9f]", event)
        event.encode()
    except BadEvent as refusal:
        assert len(str(refusal).splitlines()) == 1


@pytest.mark.parametrize("ttl", [None, 0.001, 60.0, 10 * 365 * 86400.0])
def test_valid_ttl_is_unchanged(ttl: float | None) -> None:
    assert draft("a", b"x", ttl=ttl).ttl == ttl


@pytest.mark.parametrize("ttl", [0, 0.0, -1.0, float("nan"), float("inf"), float("-inf"), 10 * 365 * 86400.0 + 1])
def test_ttl_that_is_not_positive_or_too_long_is_refused(ttl: float) -> None:
    with pytest.raises(BadTtl):
        draft("a", b"x", ttl=ttl)


def test_end_mark_needs_no_data_of_any_type() -> None:
    assert draft("a", b"", end=True).end
    assert draft("a", b"", JSON, end=True).end


def test_draft_does_not_end_channel_by_default() -> None:
    assert not draft("a", b"x").end
    assert not Draft("a", b"x", TEXT, "text").end
    assert not Message("E", 1, None, "a", 0.0, b"x", TEXT, "text").end


def test_end_with_data_is_validated_and_delivered() -> None:
    with pytest.raises(BadJson):
        draft("a", b"{", JSON, end=True)
    assert not message(data=b"last", end=True).is_mark
    assert message(data=b"", end=True).is_mark
    assert not message(data=b"").is_mark


def test_id_is_epoch_and_sequence() -> None:
    assert message(17, epoch="4f2a").id == "4f2a-17"


def test_size_counts_data_names_and_types() -> None:
    light = message(channel="a", data=b"", content_type="x/y")
    assert light.size == len("a") + len("x/y")
    heavy = message(channel="a/b", data=b"12345", content_type="x/y", event="update")
    assert heavy.size == len("a/b") + 5 + len("x/y") + len("update")


def test_drafts_and_messages_are_immutable() -> None:
    with pytest.raises(AttributeError):
        draft("a", b"x").data = b"y"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        message().data = b"y"  # type: ignore[misc]


def test_equal_messages_are_distinct() -> None:
    """Messages are compared by identity, as keys of caches."""
    assert message(1) != message(1)


@pytest.mark.parametrize(
    ("reasons", "main"),
    [
        (("evicted", "expired"), "evicted"),
        (("expired", "unknown"), "unknown"),
        (("expired", "unknown", "epoch", "evicted"), "epoch"),
    ],
)
def test_main_reason_is_that_of_the_gap_that_can_miss_most(reasons: tuple[str, ...], main: str) -> None:
    assert main_reason([Gap("a", "E-1", "E-2", reason) for reason in reasons]) == main
