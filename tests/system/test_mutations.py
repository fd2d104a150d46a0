"""Mutations of valid input to each listener do not break the daemon.

`make fuzz` sends ten times as many, with a random FUZZ_SEED. A failure is reproduced by the same seed.
"""

import os
import random
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.daemon.clients import HANDSHAKE, SECONDS
from tests.daemon.real import Daemon, eventually

pytestmark = pytest.mark.system

INPUTS = int(os.environ.get("FUZZ_INPUTS", "1000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
_PATIENCE = 0.5
"""Seconds after which a reply to a mutated input is not waited for any more; some have none."""
_END_SECONDS = 30.0
"""In which a connection with a valid input ends."""

_HEAD = b"Host: localhost\r\n"
_UPGRADE = b"GET /ws HTTP/1.1\r\n" + _HEAD + b"".join(f"{n}: {v}\r\n".encode() for n, v in HANDSHAKE.items())
_V1 = _UPGRADE + b"Sec-WebSocket-Protocol: pushd.v1\r\n\r\n"


def frame(payload: bytes, first: int = 0x81) -> bytes:
    """Return a client frame, masked with zeros (RFC 6455, section 5.2)."""
    length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes([first]) + length + bytes(4) + payload


HTTP = (
    b"POST /pub/a/b?event=e&ttl=5 HTTP/1.1\r\n" + _HEAD + b"Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /pub/a HTTP/1.1\r\n" + _HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    b"POST /pub HTTP/1.1\r\n" + _HEAD + b"Content-Type: application/x-ndjson\r\nContent-Length: 45\r\n\r\n"
    b'{"channel":"a","data":{"x":[1]},"event":"e"}\n',
    b"GET /sse/a,b/*?since=all&slow=drop HTTP/1.1\r\n" + _HEAD + b"Accept: text/event-stream\r\n\r\n",
    b"GET /poll/a?since=last:2 HTTP/1.1\r\n" + _HEAD + b"\r\nGET /history/**?limit=3 HTTP/1.1\r\n" + _HEAD + b"\r\n",
    b"GET /multipart/a HTTP/1.1\r\n" + _HEAD + b"Last-Event-ID: abc-1\r\n\r\n",
    b"GET /pull/a?interval=1 HTTP/1.1\r\n" + _HEAD + b"Origin: http://localhost\r\n\r\n",
    b"OPTIONS /pub/a HTTP/1.1\r\n" + _HEAD + b"Access-Control-Request-Method: POST\r\n\r\n",
    b"GET /longpoll/a?timeout=1&since=10m HTTP/1.0\r\n\r\n",
)
WEBSOCKET = (
    _V1 + frame(b'{"subscribe":"a/*,b","since":"all","slow":"latest","ref":1}') + frame(b'{"ping":1}'),
    _V1 + frame(b'{"publish":"a","data":[1,"x"],"event":"e"}', 0x01) + frame(b"", 0x80) + frame(b"p", 0x89),
    _V1 + frame(b'{"unsubscribe":"a","ref":{}}') + frame(b"\x03\xe8bye", 0x88),
    _V1 + frame(b'{"publish":"a","data_base64":"AAAA","content_type":"image/png"}' + b" " * 100),
    _UPGRADE + b"\r\n" + frame(b"text"),
)
LINES = (
    b"SUB a,b/* since=all slow=drop\r\nPUB a hello \\n \\x41\r\nUNSUB a\r\nQUIT\r\n",
    b'PUBJ {"channel":"a","data":"x","ttl":3}\nSTAT a\nHIST a,b 3\n',
    b"FORMAT json\r\nSUB **\r\nPING x\r\nHELP\r\nAUTH secret\r\nFORMAT raw\r\n",
    b"pub a text\nsub a since=10m\nHIST ** 1000\n" * 3,
)
SCRAPS = (b"\x00", b"\r", b"\n", b"\r\n\r\n", b"\xff", b"%00", b"%2f", b"*", b",", b"\\", b"{", b'"', b"9" * 20)


def mutate(choose: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Mutate one of the valid inputs in a few places."""
    data = bytearray(choose.choice(seeds))
    for _ in range(choose.randint(1, 4)):
        start = choose.randrange(len(data) + 1)
        end = min(len(data), start + choose.randint(0, 8))
        match choose.randrange(6):
            case 0:
                data[start:end] = choose.choice(SCRAPS)
            case 1:
                data[start:end] = choose.randbytes(choose.randint(0, 8))
            case 2:
                data[start:start] = data[start:end] * choose.randint(1, 50)
            case 3:
                del data[start:]
            case 4:
                data[start:] = choose.choice(seeds)[choose.randrange(20) :]
            case _:
                data[start:end] = bytes(byte ^ 1 << choose.randrange(8) for byte in data[start:end])
    return bytes(data)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon of its own."""
    daemon = Daemon(tmp_path_factory.mktemp("pushd"), "--limits-message", "64KiB", "--limits-handshake", "2")
    yield daemon
    daemon.stop()


def test_unmutated_inputs_are_valid(daemon: Daemon, tmp_path: Path) -> None:
    """Mutations of invalid inputs would not reach much code."""
    for data in HTTP:
        assert send(daemon.http_port, data, _END_SECONDS).startswith((b"HTTP/1.1 20", b"HTTP/1.0 20")), data
    for data in WEBSOCKET[:4]:
        assert send(daemon.http_port, data, _END_SECONDS).startswith(b"HTTP/1.1 101 "), data
    for data in LINES:
        answer = send(daemon.tcp_port, data, _END_SECONDS)
        assert b"+OK" in answer and b"-ERR" not in answer, (data, answer)


@pytest.mark.parametrize(
    ("listener", "seeds"), [("http", HTTP), ("http", WEBSOCKET), ("tcp", LINES)], ids=["http", "websocket", "lines"]
)
def test_mutated_input_does_not_break_the_daemon(daemon: Daemon, listener: str, seeds: Sequence[bytes]) -> None:
    choose = random.Random(f"{SEED} {listener}")
    port = daemon.http_port if listener == "http" else daemon.tcp_port
    for number in range(INPUTS // 3):
        data = mutate(choose, seeds)
        answer = send(port, data)
        assert b"Traceback" not in answer and b'"internal"' not in answer, (number, data, answer)
    daemon.assert_healthy()
    assert daemon.counter('pushd_refusals_total{code="internal"}') == 0
    for transport in ("tcp", "websocket", "sse", "multipart"):
        series = f'pushd_connections{{transport="{transport}"}}'
        assert eventually(lambda: daemon.counter(series) == 0, _END_SECONDS), series  # noqa: B023
    with daemon.lines() as lines:
        assert lines.command(b"SUB well").startswith(b"+OK SUB well cursor=")
        receipt = daemon.publish("well", b"still")
        assert (receipt["subscribers"], lines.reply()) == (1, f"MSG well {receipt['id']} still".encode())


def send(port: int, data: bytes, patience: float = _PATIENCE) -> bytes:
    """Send as much as the daemon reads, half-close, and read the replies.

    A long poll with another request after it is not read to its end, since that would take long.
    """
    answer = []
    with socket.create_connection(("127.0.0.1", port), SECONDS) as sock:
        sock.settimeout(patience)
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while piece := sock.recv(65536):
                answer.append(piece)
        except OSError:  # reset before the half-close, or by it; or nothing more is sent for now
            pass
    return b"".join(answer)
