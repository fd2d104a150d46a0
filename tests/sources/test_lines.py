"""Lines: whole, however the bytes come, and none longer than the limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.sources.lines import Line, LineCutter


def cut(limit: int, *pieces: bytes) -> list[tuple[bytes, bool]]:
    cutter = LineCutter(limit)
    lines = [line for piece in pieces for line in cutter.feed(piece)] + cutter.rest()
    return [(line.data, line.is_cut) for line in lines]


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a\nb\n", [b"a", b"b"]),
        (b"a\r\nb\r\n", [b"a", b"b"]),
        (b"a\n\nb", [b"a", b"", b"b"]),
        (b"a\rb\n", [b"a\rb"]),
        (b"a\r\r\n", [b"a\r"]),
        (b"\n", [b""]),
    ],
)
def test_lines_end_with_lf_or_crlf_and_the_last_one_needs_no_end(data, lines):
    assert cut(10, data) == [(line, False) for line in lines]


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"1234\n", (b"1234", False)),
        (b"1234\r\n", (b"1234", False)),
        (b"12345\n", (b"1234", True)),
        (b"1234\r5\n", (b"1234", True)),
        (b"12345678\r\n", (b"1234", True)),
        ("123é\n".encode(), (b"123", True)),
        ("12é45\n".encode(), ("12é".encode(), True)),
        (b"\xff\xff\xff\xff\xff\n", (b"\xff\xff\xff\xff", True)),
    ],
)
def test_a_long_line_is_cut_off_at_the_limit_and_between_characters(data, line):
    assert cut(4, data, b"next\n") == [line, (b"next", False)]


def test_no_more_of_a_line_is_held_than_the_limit():
    cutter = LineCutter(100)
    for _ in range(1000):
        assert cutter.feed(b"x" * 1000) == []
    assert len(cutter._line) == 101
    assert cutter.feed(b"\n") == [Line(b"x" * 100, True)]


@given(st.lists(st.binary(max_size=12)), st.integers(1, 8))
def test_it_does_not_matter_how_the_bytes_come(pieces, limit):
    data = b"".join(pieces)
    assert cut(limit, *pieces) == cut(limit, data)
    assert all(len(line) <= limit for line, _ in cut(limit, data))
