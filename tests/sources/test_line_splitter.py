"""Lines are complete at any chunking, and no longer than the limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.sources.line_splitter import LineSplitter, OutputLine


def split(limit: int, *pieces: bytes) -> list[tuple[bytes, bool]]:
    splitter = LineSplitter(limit)
    lines = [line for piece in pieces for line in splitter.feed(piece)] + splitter.flush()
    return [(line.data, line.is_truncated) for line in lines]


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
def test_lines_end_with_lf_crlf_or_the_end_of_data(data, lines):
    assert split(10, data) == [(line, False) for line in lines]


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
def test_long_line_is_truncated_between_characters(data, line):
    assert split(4, data, b"next\n") == [line, (b"next", False)]


def test_buffer_is_limited():
    splitter = LineSplitter(100)
    for _ in range(1000):
        assert splitter.feed(b"x" * 1000) == []
    assert len(splitter._buffer) == 101
    assert splitter.feed(b"\n") == [OutputLine(b"x" * 100, True)]


@given(st.lists(st.binary(max_size=12)), st.integers(1, 8))
def test_chunking_does_not_matter(pieces, limit):
    data = b"".join(pieces)
    assert split(limit, *pieces) == split(limit, data)
    assert all(len(line) <= limit for line, _ in split(limit, data))
