"""Answers to the blocking client that are cut, at each byte."""

import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead, RemoteDisconnected

import pytest
from pushd_client.network.complete_response import CompleteResponse

HEAD = b"HTTP/1.1 200 OK\r\nPushd-Cursor: e-123\r\n"
ANSWERS = {
    "length": HEAD + b"Content-Length: 11\r\n\r\nhello world",
    "chunks": HEAD
    + b"Transfer-Encoding: chunked\r\n\r\n00b\r\nhello world\r\n010;a=b\r\n0123456789abcdef\r\n0\r\n\r\n",
    "trailers": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0b\r\nhello world\r\n0\r\nTrailer: yes\r\n\r\n",
    "no content": b"HTTP/1.1 204 No Content\r\nPushd-Id: e-123\r\nPushd-Cursor: e-123\r\n\r\n",
    "continue": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nPushd-Id: e-123\r\n\r\n",
}


def read(answer: bytes) -> tuple[HTTPResponse, bytes]:
    """Return the response to a request that is answered with some bytes and the end of the connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        connection = HTTPConnection("unused.invalid")
        connection.response_class = CompleteResponse
        connection.sock = ours
        connection.request("GET", "/")
        response = connection.getresponse()
        return response, b"".join(pieces(response))


def pieces(response: HTTPResponse) -> Iterator[bytes]:
    """Yield the body as it arrives."""
    while piece := response.read1(7):
        yield piece


@pytest.mark.parametrize("kind", ANSWERS)
def test_answer_that_is_cut_at_any_byte_fails(kind: str) -> None:
    answer = ANSWERS[kind]
    response, body = read(answer)
    assert response.status == (200 if answer.startswith(HEAD) else 204)
    assert body.startswith(b"hello world" if response.status == 200 else b"")
    with pytest.raises(RemoteDisconnected):
        read(b"")
    for size in range(1, len(answer)):
        with pytest.raises(HTTPException) as raised:
            read(answer[:size])
        assert isinstance(raised.value, IncompleteRead | RemoteDisconnected), answer[:size]


def test_body_without_a_length_ends_with_the_connection() -> None:
    assert read(HEAD + b"\r\nhello world")[1] == b"hello world"


def test_line_that_is_too_long_is_refused() -> None:
    with pytest.raises(HTTPException, match="got more than 65536 bytes"):
        read(HEAD + b"Header: " + b"x" * 70_000)
