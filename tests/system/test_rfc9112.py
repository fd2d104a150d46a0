"""The reference reader of requests is itself compared with examples."""

import pytest

from tests.system.rfc9112 import Doubt, read

HEAD = b"POST /pub/a HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    ("data", "bodies"),
    [
        (b"", []),
        (HEAD + b"\r\n", [b""]),
        (b"\r\n" + HEAD + b"Content-Length: 3\r\n\r\nabc" + HEAD + b"\r\n", [b"abc", b""]),
        (HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc", [b"abc"]),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n" + HEAD + b"\r\n", [b"abc", b""]),
    ],
)
def test_valid_request_has_no_doubts(data: bytes, bodies: list[bytes]):
    reading = read(data)
    assert [request.body for request in reading.requests] == bodies
    assert (reading.tail, [request.doubts for request in reading.requests]) == ("", [set() for _ in bodies])
    assert not bodies or reading.requests[-1].end == len(data)


@pytest.mark.parametrize(
    ("lines", "doubt"),
    [
        (b"Content-Length: 3\r\nContent-Length: 3\r\n", Doubt.LENGTHS),
        (b"Content-Length: 3, 3\r\n", Doubt.LENGTHS),
        (b"Content-Length: 3\r\nX-Y: a\r\n b\r\n", Doubt.FOLD),
        (b"Content-Length: 3\nX-Y: a\r\n", Doubt.BARE_LF),
        (b"Content-Length: 3\r\nHost: b\r\n", Doubt.HOSTS),
        (b"Content-Length: 3\r\nExpect: x\r\n", Doubt.EXPECT),
        (b"Content-Length: 3\r\nUpgrade: websocket\r\n", Doubt.HANDSHAKE),
        (b"Content-Length: 3\r\nConnection: content-length\r\n", Doubt.HOP_BY_HOP),
    ],
)
def test_unusual_request_has_a_doubt(lines: bytes, doubt: Doubt):
    reading = read(HEAD + lines + b"\r\nabc")
    assert [(request.body, request.doubts) for request in reading.requests] == [(b"abc", {doubt})]
    assert not reading.tail


@pytest.mark.parametrize(
    "target", ["http://other/pub/a", "pub/a", "/%70ub/a", "*"], ids=["authority", "relative", "encoded", "asterisk"]
)
def test_unusual_target_has_a_doubt(target: str):
    reading = read(f"POST {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert len(reading.requests[0].doubts) == 1


def test_chunked_framing_takes_precedence():
    reading = read(HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\na\r\n0\r\nT: u\r\n\r\n")
    assert reading.requests[0].body == b"a"
    assert reading.requests[0].doubts == {Doubt.TWO_FRAMINGS, Doubt.EXTENSION}
    assert reading.requests[0].may_be_last


@pytest.mark.parametrize(
    "data",
    [
        b"POST /pub/a b HTTP/1.1\r\n",
        b"POST /pub/a HTTP/1\r\n",
        b"POST /pub/a\r\n",
        HEAD + b"Content-Length : 3\r\n\r\nabc",
        HEAD + b"Content-Length: +3\r\n\r\nabc",
        HEAD + b"Content-Length: 3, 4\r\n\r\nabc",
        HEAD + b"Content-Length: 4\r\n\r\nabc",
        HEAD + b"X: a\rb\r\n\r\n",
        HEAD + b"X: \x00\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nab\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n",
    ],
)
def test_reader_stops_at_an_invalid_request(data: bytes):
    reading = read(HEAD + b"\r\n" + data)
    assert len(reading.requests) == 1
    assert reading.tail
