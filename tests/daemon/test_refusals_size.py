"""Size limits: each has a readable refusal, a counter, and a log line that names the peer."""

import base64
import json
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon.clients import SECONDS, Http, Lines
from tests.daemon.frames import MASK, open_websocket, read_close_code
from tests.daemon.real import Daemon, eventually
from tests.daemon.refusals import NDJSON

pytestmark = pytest.mark.system

MESSAGE = 64 << 10
BATCH = 256 << 10
LINE = 2 * MESSAGE + 4096
"""The longest line: a message of which every byte is escaped, and the rest of the command."""
MORE_THAN_BUFFERS = 32 << 20
"""More than the socket buffers of the kernel hold: a client that can send this much is being read."""


def declare(http: Http, target: str, length: int | str, *headers: str, method: str = "POST") -> None:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *headers, "", ""]
    http.send("\r\n".join(lines).encode())


@pytest.mark.parametrize("headers", [(), ("Expect: 100-continue",)], ids=["at once", "expecting"])
@pytest.mark.parametrize("target", ["/pub/a", "/pub/a?end=1", "/pub/*", "/nope", "/sse/a", "/pub/", "//pub"])
def test_declared_length_over_the_limit_is_refused(daemon: Daemon, target: str, headers: tuple[str, ...]) -> None:
    for length in (MESSAGE + 1, 200 << 20, 10**30):
        with daemon.http() as http:
            declare(http, target, length, *headers)
            response = http.response()
            assert (response.status, response.code) == (413, "too-large")
            assert response.headers["connection"] == "close"
            assert http.rest() == b""


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD"])
def test_declared_length_is_checked_for_every_method(http: Http, method: str) -> None:
    declare(http, "/pub/a", MESSAGE + 1, method=method)
    assert http.response(method).status == 413


@pytest.mark.parametrize("target", ["/pub", "/%70ub"])
def test_declared_length_of_a_batch(http: Http, target: str) -> None:
    declare(http, target, MESSAGE + 1, "Content-Type: text/plain")
    http.send(bytes(MESSAGE + 1))
    assert http.response().code == "unsupported-type"
    declare(http, target, BATCH + 1, "Content-Type: application/x-ndjson")
    assert http.response().code == "too-large"


def test_expect_continue_is_answered(http: Http, channel: str) -> None:
    declare(http, f"/pub/{channel}", 5, "Expect: 100-continue")
    assert (http.line(), http.line()) == (b"HTTP/1.1 100 Continue\r\n", b"\r\n")
    http.send(b"hello")
    assert http.response().status == 202


@pytest.mark.parametrize("target", ["/pub/a", "/nope"])
def test_refused_sender_may_continue_for_a_while(http: Http, target: str) -> None:
    declare(http, target, MORE_THAN_BUFFERS)
    http.send_until_blocked(bytes(MESSAGE), 4 << 20)
    assert http.response().code == "too-large"


@pytest.mark.parametrize("target", ["/pub/a", "/nope", "/pub"])
def test_chunks_over_the_limit_are_refused(daemon: Daemon, http: Http, target: str) -> None:
    http.send(f"POST {target} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n".encode())
    http.send(b"Content-Type: application/x-ndjson\r\n\r\n")
    limit = BATCH if target == "/pub" else MESSAGE
    assert limit < http.send_until_blocked(b"1000\r\n" + bytes(4096) + b"\r\n", 2 * limit)
    assert http.response().code == "too-large"


def test_endless_chunk_is_refused(http: Http) -> None:
    http.send(b"POST /pub/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n")
    http.send_until_blocked(bytes(4096), 4 * MESSAGE)
    assert http.response().code == "too-large"


def test_largest_messages_are_accepted(daemon: Daemon, http: Http, lines: Lines, channel: str) -> None:
    data = b"x" * MESSAGE
    assert http.request("POST", f"/pub/{channel}", {}, data).status == 202
    http.send(
        f"POST /pub/{channel} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{MESSAGE:x}\r\n".encode()
    )
    http.send(data + b"\r\n0\r\n\r\n")
    assert http.response().status == 202
    assert lines.command(f"PUB {channel} ".encode() + data).startswith(b"+OK ")
    assert lines.command(f"PUB {channel} ".encode() + rb"\\" * MESSAGE).startswith(b"+OK ")
    text = json.dumps({"channel": channel, "data_base64": base64.b64encode(data).decode()})
    assert lines.command(b"PUBJ " + text.encode()).startswith(b"+OK ")
    with daemon.websocket() as websocket:
        websocket.send(json.dumps({"publish": channel, "data": data.decode()}))
        assert json.loads(websocket.recv(SECONDS))["ok"]
    line = json.dumps({"channel": channel, "data": data[: MESSAGE - 200].decode()}).encode()
    batch = line.ljust(BATCH // 4 - 1) + b"\n"
    assert http.request("POST", "/pub", NDJSON, batch * 4).body.count(b'"id"') == 4
    assert daemon.request("GET", f"/pub/{channel}").json()["messages"] == 10


def test_batch_refuses_only_its_large_lines(daemon: Daemon, channel: str) -> None:
    sizes = (10, MESSAGE + 1, 20)
    batch = b"\n".join(json.dumps({"channel": channel, "data": "x" * size}).encode() for size in sizes)
    answers = [json.loads(line) for line in daemon.request("POST", "/pub", NDJSON, batch).body.splitlines()]
    assert ["id" in response for response in answers] == [True, False, True]
    assert answers[1]["error"]["code"] == "too-large"


def test_invalid_batch_needs_little_memory(daemon: Daemon) -> None:
    process = Path("/proc") / str(daemon.pid)
    if not process.exists():
        pytest.skip("no /proc")
    (process / "clear_refs").write_text("5")
    before = peak_memory(process)
    response = daemon.request("POST", "/pub", NDJSON, b"x\n" * 50_000)
    assert response.body.count(b"bad-json") == 50_000
    assert peak_memory(process) - before < 48 << 20, "bytes for 100 KB of invalid lines and a response of 5 MB"


def test_batch_of_too_many_lines_is_refused(daemon: Daemon) -> None:
    response = daemon.request("POST", "/pub", NDJSON, b"x\n" * 50_001)
    assert response.status == 413
    assert b"too-large" in response.body


def peak_memory(process: Path) -> int:
    found = re.search("VmHWM:\\s+([0-9]+) kB", (process / "status").read_text())
    assert found
    return int(found[1]) << 10


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b""], ids=["CRLF", "LF", "no end"])
def test_too_long_line_closes_the_connection(lines: Lines, end: bytes) -> None:
    lines.send(b"PING 1\r\nPING " + b"x" * LINE + end + b"PING 2\r\n" * bool(end))
    assert lines.reply() == b"PONG 1"
    assert lines.reply().startswith(b"-ERR line-too-long ")
    assert lines.rest() == b""


def test_endless_line_is_refused(lines: Lines) -> None:
    assert lines.send_until_blocked(b"x" * 4096, MORE_THAN_BUFFERS) < MORE_THAN_BUFFERS
    assert lines.reply().startswith(b"-ERR line-too-long ")
    assert lines.rest() == b""


def test_line_client_that_does_not_read_is_not_read(lines: Lines) -> None:
    assert lines.send_until_blocked(b"PING " + b"x" * 60_000 + b"\r\n", 8 * MORE_THAN_BUFFERS) < 8 * MORE_THAN_BUFFERS


def test_stream_client_that_sends_is_not_read(limited: Daemon) -> None:
    with limited.http() as http:
        http.open_stream("/sse/a")
        assert http.send_until_blocked(bytes(65536), MORE_THAN_BUFFERS) < MORE_THAN_BUFFERS


# WebSocket


@pytest.mark.parametrize("subprotocol", ["pushd.v1", "other"])
@pytest.mark.parametrize("size", [LINE + 1, 2**31, 2**32, 2**62, 2**63 - 1])
@pytest.mark.parametrize("opcode", [1, 2])
def test_too_large_frame_is_refused_by_its_length(http: Http, opcode: int, size: int, subprotocol: str) -> None:
    open_websocket(http, subprotocol)
    http.send(struct.pack("!BBQ", 0x80 | opcode, 0xFF, size) + MASK)
    assert read_close_code(http) == 1009


def test_frame_length_over_63_bits_is_refused(http: Http) -> None:
    open_websocket(http)
    http.send(struct.pack("!BBQ", 0x81, 0xFF, 2**63) + MASK)
    assert read_close_code(http) in (1002, 1009)


def test_fragments_over_the_limit_are_refused(http: Http) -> None:
    open_websocket(http)
    fragment = struct.pack("!BH", 0xFE, 4096) + MASK + b" " * 4096
    http.send(b"\x01" + fragment + (b"\0" + fragment) * (LINE // 4096 + 1))
    assert read_close_code(http) == 1009


def test_websocket_client_that_does_not_read_is_not_read(daemon: Daemon) -> None:
    with daemon.http() as http:
        open_websocket(http)
        text = b'{"ping":"' + b"x" * 50_000 + b'"}'
        sent = http.send_until_blocked(struct.pack("!BBH", 0x81, 0xFE, len(text)) + MASK + text, 8 * MORE_THAN_BUFFERS)
        assert sent < 8 * MORE_THAN_BUFFERS


# Counters and log


def oversized_body(daemon: Daemon) -> None:
    daemon.request("POST", "/pub/a", {}, b"x" * (MESSAGE + 1))


def oversized_line(daemon: Daemon) -> None:
    with daemon.lines() as lines:
        lines.send(b"x" * (LINE + 1))
        lines.rest()


def oversized_frame(daemon: Daemon) -> None:
    with daemon.http() as http:
        open_websocket(http)
        http.send(struct.pack("!BBQ", 0x81, 0xFF, LINE + 1) + MASK)
        assert read_close_code(http) == 1009


def oversized_headers(daemon: Daemon) -> None:
    daemon.request("GET", "/" + "a" * 9000)


OVERSIZED = [
    (oversized_body, "too-large"),
    (oversized_line, "line-too-long"),
    (oversized_frame, "too-large"),
    (oversized_headers, "headers-too-large"),
]


@pytest.mark.parametrize(("send_oversized", "code"), OVERSIZED)
def test_oversized_input_is_counted(daemon: Daemon, send_oversized: Callable[[Daemon], None], code: str) -> None:
    series = f'pushd_refusals_total{{code="{code}"}}'
    before = daemon.counter(series)
    send_oversized(daemon)
    assert daemon.counter(series) == before + 1


@pytest.mark.parametrize(("send_oversized", "code"), OVERSIZED)
def test_log_names_the_peer(daemon: Daemon, send_oversized: Callable[[Daemon], None], code: str) -> None:
    """A code is logged once a second, and another test may have used this second."""
    start = len(daemon.log)

    def is_logged() -> bool:
        send_oversized(daemon)
        return re.search(rf"127\.0\.0\.1( #[0-9a-f]+)?: refused, {code}: ", daemon.log[start:]) is not None

    assert eventually(is_logged)
