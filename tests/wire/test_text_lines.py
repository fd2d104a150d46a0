"""Text lines: any bytes fit into a line, round-trip, and contain no terminal control sequence."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pushd.core.errors import BadEscape
from pushd.core.message import Gap
from pushd.wire.text_lines import TextLines, escape, unescape
from tests.build import message

ANY = st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))


@given(ANY)
@example(bytes(range(256)))
@example("\u0085\u2028\u2029\u009b\\x41\\".encode())
def test_any_bytes_round_trip_through_escaping(data: bytes) -> None:
    assert unescape(escape(data)) == data


@given(ANY)
@example(bytes(range(256)))
@example("a\u0085b\u2028c\u2029d\x0b\x0c\x1c\x1d\x1e\r\n".encode())
def test_escaped_text_is_one_utf8_line_without_control_characters(data: bytes) -> None:
    line = escape(data)
    text = line.decode("utf-8")
    assert len(b"|%b|".replace(b"%b", line).splitlines()) == 1
    assert len(f"|{text}|".splitlines()) == 1
    assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]", text)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", b""),
        (b"plain text, as it is", b"plain text, as it is"),
        ("Grüezi 日本 🎈".encode(), "Grüezi 日本 🎈".encode()),
        (b"a\tb", b"a\tb"),
        (b"a\nb", rb"a\nb"),
        (b"a\r\nb", rb"a\r\nb"),
        (rb"C:\new", rb"C:\\new"),
        (b"\x00\x1b[2J\x7f", rb"\x00\x1b[2J\x7f"),
        (b"\xff\xfe", rb"\xff\xfe"),
        (b"\xc3", rb"\xc3"),
        (b"\xed\xa0\x80", rb"\xed\xa0\x80"),
        ("\u0085".encode(), rb"\xc2\x85"),
        ("\u2028".encode(), rb"\xe2\x80\xa8"),
    ],
)
def test_only_unsafe_bytes_are_escaped(data: bytes, text: bytes) -> None:
    assert escape(data) == text
    assert unescape(text) == data


@pytest.mark.parametrize(
    ("text", "data"),
    [(rb"\x41\x4A\x4a", b"AJJ"), (rb"\\n", rb"\n"), (rb"\\\n", b"\\\n"), (rb"\xe2\x82\xac", "€".encode())],
)
def test_unnecessary_escapes_are_accepted(text: bytes, data: bytes) -> None:
    assert unescape(text) == data


@pytest.mark.parametrize(
    "text",
    [
        b"\\",
        b"a\\",
        rb"\\" + b"\\",
        rb"\t",
        rb"\N",
        rb"\0",
        rb"\x",
        rb"\x4",
        rb"\x4g",
        rb"\xg4",
        rb"\u0041",
        b"\\ ",
    ],
)
def test_unknown_escape_is_refused(text: bytes) -> None:
    with pytest.raises(BadEscape):
        unescape(text)


def test_lines_are_encoded_as_documented() -> None:
    wire = TextLines()
    assert wire.message(message(7, "a/ü", b"two\nlines")) == "MSG a/ü E-7 two\\nlines\r\n".encode()
    assert wire.message(message(7, data=b"")) == b"MSG a E-7 \r\n"
    assert wire.gap(Gap("a/*", "E-1", "E-3", "slow")) == b"GAP a/* E-1 E-3 slow\r\n"
    assert wire.end("a/ü") == "END a/ü\r\n".encode()
    assert wire.ping() == b""
    assert wire.block([b"one\r\n", b"two\r\n"]) == b"one\r\ntwo\r\n"
    assert not wire.data_only


@given(st.lists(ANY, max_size=4))
def test_each_message_is_one_line_with_its_data(sent: list[bytes]) -> None:
    wire = TextLines()
    block = wire.block([wire.message(message(seq, data=data)) for seq, data in enumerate(sent, 1)])
    lines = [line.split(b" ", 3) for line in block.split(b"\r\n")[:-1]]
    assert [(line[2], unescape(line[3])) for line in lines] == [
        (b"E-%d" % seq, data) for seq, data in enumerate(sent, 1)
    ]
