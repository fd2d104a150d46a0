"""The chunked transfer coding, decoded by the HTTP client of the standard library."""

import http.client
import io
import socket
from collections.abc import Sequence
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.core.message import Gap
from pushd.wire.chunked import Chunked, chunk
from pushd.wire.ndjson import JsonLines, RawLines
from tests.build import StatefulWire, message


class ResponseSocket:
    """A socket from which a response can be read."""

    def __init__(self, body: bytes) -> None:
        self._stream = io.BytesIO(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)

    def makefile(self, *_: object) -> io.BytesIO:
        return self._stream


def body_of(stream: bytes) -> bytes:
    response = http.client.HTTPResponse(cast(socket.socket, ResponseSocket(stream)))
    response.begin()
    return response.read()


@given(st.lists(st.binary(min_size=1, max_size=600)))
def test_client_reads_chunked_body(parts: Sequence[bytes]) -> None:
    assert body_of(b"".join(map(chunk, parts)) + b"0\r\n\r\n") == b"".join(parts)


@pytest.mark.parametrize(("size", "head"), [(1, b"1\r\n"), (15, b"f\r\n"), (16, b"10\r\n"), (65536, b"10000\r\n")])
def test_chunk_size_is_hexadecimal(size: int, head: bytes) -> None:
    assert chunk(b"x" * size) == head + b"x" * size + b"\r\n"


def test_block_is_one_chunk_with_inner_block() -> None:
    inner = JsonLines()
    wire = Chunked(inner)
    gap = Gap("a", "E-1", "E-3", "evicted")
    frames = [wire.message(message(1)), wire.gap(gap), wire.end("a"), wire.ping()]
    assert frames == [inner.message(message(1)), inner.gap(gap), inner.end("a"), inner.ping()]
    assert wire.block(frames) == chunk(inner.block(frames))


def test_empty_block_is_not_encoded_as_last_chunk() -> None:
    wire = Chunked(RawLines())
    assert wire.block([]) == b""
    assert wire.block([wire.ping(), wire.end("a")]) == b""


def test_stateful_wire_has_one_chunked_wire_per_state() -> None:
    inner = StatefulWire()
    wire = Chunked(inner)
    a, b = message(1, "a"), message(2, "b")
    assert wire.is_stateful
    assert wire.after(a) is wire.after(a)
    assert wire.after(a).after(b) is wire.after(b)
    assert wire.after(a) is not wire.after(b)
    assert wire.after(a).message(b) == inner.after(a).message(b) == b"a>b:2 "
    assert wire.after(a).block([b"x"]) == chunk(b"x")


def test_stateless_wire_has_one_chunked_wire() -> None:
    wire = Chunked(JsonLines())
    assert not wire.is_stateful
    assert wire.after(message()) is wire
    assert wire.last() == b""


@pytest.mark.parametrize("inner", [JsonLines(), RawLines()])
def test_chunked_wire_is_data_only_if_inner_wire_is(inner: JsonLines | RawLines) -> None:
    assert Chunked(inner).data_only is inner.data_only
