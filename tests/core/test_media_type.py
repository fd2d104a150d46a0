"""Media types: their syntax (RFC 9110), and their essence without parameters."""

import pytest

from pushd.core.media_type import essence, is_media_type


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
        ("text", False),
        ("text/", False),
        ("text/plain charset=utf-8", False),
        ("text/plain; charset", False),
        ("text/plain\r\n", False),
    ],
)
def test_media_type_is_type_subtype_and_parameters(text: str, is_valid: bool) -> None:
    assert is_media_type(text) is is_valid
