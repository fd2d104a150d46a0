"""Media types: their syntax (RFC 9110), and their essence without parameters."""

from time import process_time
from timeit import repeat

import pytest

from pushd.core.media_type import charset, essence, is_media_type, with_utf8


@pytest.mark.parametrize(
    ("media_type", "expected"),
    [
        ("text/plain", "text/plain"),
        ("Text/HTML;charset=utf-8", "text/html"),
        (" application/json ; a=b; c=d", "application/json"),
        ("image/png;", "image/png"),
        ("", ""),
        (";charset=utf-8", ""),
    ],
)
def test_essence_is_type_and_subtype_in_lower_case(media_type: str, expected: str) -> None:
    assert essence(media_type) == expected


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        ("text/plain", True),
        ("text/plain ; charset=utf-8;", True),
        ('multipart/mixed; boundary="a b;c"', True),
        ("text/html;;charset=utf-8", True),
        ("text/html; ; ;charset=utf-8 ;; ", True),
        ("text/html;", True),
        (r'text/plain; a="\"\\"', True),
        (r'text/plain; a="b\"', False),
        (r'text/plain; a="b\c"; d', False),
        ('text/plain; a="b"c', False),
        ("text/plain;;charset", False),
        ("text/plain ;= ;", False),
        ("text", False),
        ("text/", False),
        ("text/plain charset=utf-8", False),
        ("text/plain; charset", False),
        ("text/plain\r\n", False),
    ],
)
def test_media_type_is_type_subtype_and_parameters(text: str, is_valid: bool) -> None:
    assert is_media_type(text) is is_valid


@pytest.mark.parametrize(
    "text", ["a/b" + ";  " * 84 + "x", 'a/b;a="' + r"\\" * 120 + "x", "a/b" + " ;a=b" * 50 + " ;a="]
)
def test_invalid_media_type_is_found_quickly(text: str) -> None:
    assert not is_media_type(text)
    assert min(repeat(lambda: is_media_type(text), timer=process_time, repeat=3, number=1)) < 0.1


@pytest.mark.parametrize(
    ("media_type", "label", "as_utf8"),
    [
        ("text/plain", None, "text/plain"),
        ("text/html;;Charset=ISO-8859-1", "iso-8859-1", "text/html;;Charset=utf-8"),
        ('text/html; charset="utf-8"; a=b', "utf-8", "text/html; charset=utf-8; a=b"),
        (r'text/html; charset="\u\t\f-8"', "utf-8", "text/html; charset=utf-8"),
        ('text/html; a="; charset=x"; charset=y', "y", 'text/html; a="; charset=x"; charset=utf-8'),
        (r'text/html; a="\"; charset=x"', None, r'text/html; a="\"; charset=x"'),
        ("text/html; charset=x; charset=y", "x", "text/html; charset=utf-8; charset=utf-8"),
        ("text/html; xcharset=x", None, "text/html; xcharset=x"),
    ],
)
def test_charset_is_found_and_replaced(media_type: str, label: str | None, as_utf8: str) -> None:
    assert charset(media_type) == label
    assert with_utf8(media_type) == as_utf8
