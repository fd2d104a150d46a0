"""Parsers of pushd's output, each written from its standard and independent of the encoders."""

import base64
import re
from typing import NamedTuple


class Part(NamedTuple):
    """A part of a multipart body."""

    headers: dict[str, str]
    """Values by lower-case name."""
    body: bytes

    @property
    def data(self) -> bytes:
        """The body without its transfer encoding."""
        encoded = self.headers.get("content-transfer-encoding") == "base64"
        return base64.b64decode(self.body, validate=False) if encoded else self.body


def parts_of(stream: bytes, boundary: bytes) -> list[Part]:
    """Return the parts of a complete multipart body (RFC 2046, section 5.1.1).

    Like lenient parsers, it accepts CR or LF alone as a line end.
    """
    delimiter = rb"(?:\A|\r\n|\r|\n|(?<=\n))--" + re.escape(boundary) + rb"(--)?[ \t]*\r\n"
    preamble, *pieces = re.split(delimiter, stream)
    assert preamble == b"", "bytes before the first boundary"
    closes, bodies = pieces[::2], pieces[1::2]
    assert closes.index(b"--") == len(closes) - 1, "one end, and it is the last boundary"
    assert bodies.pop() == b"", "bytes after the last boundary"
    return [_part(piece) for piece in bodies]


def _part(piece: bytes) -> Part:
    head, _, body = (b"\r\n" + piece).partition(b"\r\n\r\n")
    headers: dict[str, str] = {}
    for line in re.split(rb"\r\n|\r|\n", head)[1:] if piece else ():
        name, colon, value = line.decode("ascii").partition(": ")
        assert colon and re.fullmatch(r"[A-Za-z-]+", name) and value.isprintable(), line
        assert name.lower() not in headers or name in ("Pushd-Gap", "Pushd-End", "Pushd-Ping"), f"{name} twice"
        headers[name.lower()] = value
    return Part(headers, body)


def chunks_of(stream: bytes) -> list[bytes]:
    """Return the chunks of a complete chunked body (RFC 9112, section 7.1)."""
    chunks: list[bytes] = []
    while True:
        head, end, stream = stream.partition(b"\r\n")
        assert end and re.fullmatch(rb"[0-9A-Fa-f]+", head), head
        size = int(head, 16)
        data, end, stream = stream[:size], stream[size : size + 2], stream[size + 2 :]
        assert (len(data), end) == (size, b"\r\n")
        if not size:
            assert stream == b"", "bytes after the last chunk"
            return chunks
        chunks.append(data)


def lines_of(stream: bytes) -> list[str]:
    """Return UTF-8 lines that end with LF or CRLF (docs/protocol.md, "TCP lines")."""
    *lines, rest = stream.split(b"\n")
    assert rest == b"", "the last line has no end"
    return [line.removesuffix(b"\r").decode("utf-8") for line in lines]


def plain(text: str) -> bytes:
    """Return the bytes of an escaped line, and check that it uses documented escapes only."""
    assert re.fullmatch(r"(?:[^\\]|\\[\\nr]|\\x[0-9a-f]{2})*", text, re.DOTALL), text
    pieces = re.findall(r"\\x(..)|\\(.)|([^\\]+)", text)
    named = {"\\": b"\\", "n": b"\n", "r": b"\r", "": b""}
    return b"".join(bytes.fromhex(code) + named[name] + letters.encode() for code, name, letters in pieces)
