"""Content: media types and their parameters, charsets, images without a type, and invalid JSON."""

import pytest

from pushd.core.errors import BadChannel, BadContentType, BadJson, BadTopic
from pushd.core.media_type import charset, is_media_type, with_utf8
from pushd.core.message import draft
from pushd.core.names import check_channel, check_topic
from pushd.wire.publication import parse_publication


@pytest.mark.parametrize(
    ("media_type", "expected"),
    [
        ("text/html", None),
        ("text/html;;charset=utf-8", "utf-8"),
        ("text/html ; ; charset=UTF-8 ;", "utf-8"),
        ('text/html; charset="utf-8"', "utf-8"),
        ('text/html; charset="u\\tf-8"', "utf-8"),
        ('text/html; a=";charset=x"; charset=utf-16', "utf-16"),
        ("text/html; CharSet=Latin1", "latin1"),
        ('text/html; title="a \\" b"; charset=x', "x"),
    ],
)
def test_charset_of_a_media_type(media_type, expected):
    assert is_media_type(media_type)
    assert charset(media_type) == expected
    assert draft("a", b"x", media_type).data == b"x"


def test_other_parameters_stay_when_the_charset_changes():
    assert with_utf8('text/html;; charset="latin1" ; a="b;c"') == 'text/html; charset=utf-8; a="b;c"'


@pytest.mark.parametrize(
    "media_type", ["text", "text/", "text/html; a", "text/html; =b", 'text/html; a="', "text/html;a=b c"]
)
def test_other_forms_are_refused(media_type):
    assert not is_media_type(media_type)
    with pytest.raises(BadContentType):
        draft("a", b"x", media_type)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("iso-8859-1", "Zürich"),
        ("windows-1252", "€"),
        ("utf-16", "日本"),
        ("shift_jis", "日本"),
        ("koi8-r", "Привет"),
        ("big5", "日本"),
    ],
)
def test_text_in_another_charset_becomes_utf8(name, text):
    made = draft("a", text.encode(name), f"text/plain; charset={name}")
    assert (made.data.decode(), made.content_type, made.encoding) == (text, "text/plain; charset=utf-8", "text")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("nothing", b"x"),
        ("utf-16", b"x"),
        ("utf-7", b"+AGE-"),
        ("unicode_escape", b"\\u0041"),
        ("zip", b"x"),
        ("shift_jis", b"\xff"),
    ],
)
def test_text_that_cannot_be_decoded_keeps_bytes_and_type(name, data):
    kind = f"text/plain; charset={name}"
    made = draft("a", data, kind)
    assert (made.data, made.content_type, made.encoding) == (data, kind, "binary")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n\xff", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a\xff", "image/gif"),
        (b"RIFF\xff\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"\x00\x00\x00\xfcftypavif", "image/avif"),
        (b"\xff\xfe", "application/octet-stream"),
        (b"GIF89a", "text/plain; charset=utf-8"),
    ],
)
def test_type_of_an_image_is_guessed(data, kind):
    assert draft("a", data).content_type == kind


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'"\\ud800"', "surrogate"),
        (b"1e400", "out of range"),
        (b"[" * 100_000, "nested"),
        (b"{", "truncated"),
    ],
)
def test_reason_of_invalid_json_is_named(data, reason):
    with pytest.raises(BadJson, match=reason):
        draft("a", data, "application/json")


@pytest.mark.parametrize("invisible", ["\u200b", "\u200d", "\u202e", "\u2066", "\u061c", "\u2060", "\u200e"])
@pytest.mark.parametrize(("check", "error"), [(check_channel, BadChannel), (check_topic, BadTopic)])
def test_names_have_no_invisible_characters(check, error, invisible):
    with pytest.raises(error, match="zero-width"):
        check(f"a{invisible}b")


@pytest.mark.parametrize(("check", "error"), [(check_channel, BadChannel), (check_topic, BadTopic)])
def test_names_are_composed(check, error):
    assert check("Zürich/日本") == "Zürich/日本"
    with pytest.raises(error, match="normalization form C"):
        check("Zu\u0308rich")


def test_string_in_json_is_unicode_whatever_the_charset():
    line = '{"channel":"a","data":"Zürich","content_type":"text/plain; charset=iso-8859-1"}'.encode()
    made = parse_publication(line, 1000, 255)
    assert (made.data.decode(), made.content_type) == ("Zürich", "text/plain; charset=utf-8")
