"""WebSocket conformance (RFC 6455), in the order of the Autobahn test suite, whose case numbers are given.

The suite itself needs Python 2, so these cases are written anew for the same echo: see docs/security.md.
"""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.frames import Opcode
from websockets.utils import apply_mask

from tests.daemon.clients import HANDSHAKE, Http
from tests.daemon.real import ROOT

pytestmark = pytest.mark.system

TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = (
    Opcode.TEXT,
    Opcode.BINARY,
    Opcode.CLOSE,
    Opcode.PING,
    Opcode.PONG,
    Opcode.CONT,
)
NORMAL = 1000
BAD_FRAME, BAD_TEXT, TOO_BIG = 1002, 1007, 1009
KEY = b"\x37\xfa\x21\x3d"
GREEK = "κόσμε".encode()
Frames = list[tuple[int, bytes]]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of the echo server, whose log is checked at the end."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.echo", "0"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout
        try:
            log = b""
            while not (found := re.search(rb"http listens on 127\.0\.0\.1:([0-9]+)", log)):
                line = process.stdout.readline()
                assert line, log
                log += line
            yield int(found[1])
        finally:
            process.terminate()
            log = process.stdout.read()
    assert not re.search(b"Traceback|Unhandled", log), log.decode()


@pytest.fixture
def echo(port: int) -> Iterator[Http]:
    """A WebSocket that echoes messages."""
    with Http(port) as http:
        http.send_request("GET", "/echo/any", HANDSHAKE)
        assert http.head().status == 101
        yield http


def make_frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bool = True) -> bytes:
    """Return a frame, valid or not."""
    size = len(payload)
    head = bytes((fin << 7 | rsv << 4 | opcode,))
    masked = mask << 7
    if size < 126:
        head += bytes((masked | size,))
    elif size < 1 << 16:
        head += bytes((masked | 126,)) + size.to_bytes(2)
    else:
        head += bytes((masked | 127,)) + size.to_bytes(8)
    return head + (KEY + apply_mask(payload, KEY) if mask else payload)


def fragmented(opcode: Opcode, *payloads: bytes, between: bytes = b"") -> bytes:
    """Return a message in several frames."""
    last = len(payloads) - 1
    frames = [
        make_frame(CONTINUATION if at else opcode, payload, fin=at == last) for at, payload in enumerate(payloads)
    ]
    return between.join(frames)


def close_frame(code: int, reason: bytes = b"") -> bytes:
    """Return a close frame."""
    return make_frame(CLOSE, code.to_bytes(2) + reason)


def read_frames(echo: Http) -> tuple[Frames, int]:
    """Read to the close frame; return the frames before it, and the close code."""
    frames: Frames = []
    while True:
        first, size = echo.read(2)
        assert first & 0x70 == 0 and first & 0x80, "no reserved bit, no fragment"
        assert size < 128, "not masked"
        if size > 125:
            size = int.from_bytes(echo.read(2 if size == 126 else 8))
        payload = echo.read(size)
        if first & 0x0F == CLOSE:
            return frames, int.from_bytes(payload[:2])
        frames.append((first & 0x0F, payload))


def send_bytewise(echo: Http, data: bytes) -> None:
    """Send byte by byte; the socket does not join them."""
    for at in range(len(data)):
        echo.send(data[at : at + 1])


def send_in_pieces(echo: Http, data: bytes) -> None:
    """Send in the pieces that the suite uses."""
    for at in range(0, len(data), 997):
        echo.send(data[at : at + 997])


SENDS: list[Callable[[Http, bytes], None]] = [Http.send, send_in_pieces]

ECHOED: dict[str, tuple[bytes, Frames]] = {
    "2.2 a ping": (make_frame(PING, b"Hello"), [(PONG, b"Hello")]),
    "2.1 an empty ping": (make_frame(PING), [(PONG, b"")]),
    "2.3 a ping of any bytes": (make_frame(PING, b"\0\xff\xfe\xfd"), [(PONG, b"\0\xff\xfe\xfd")]),
    "2.4 the longest ping": (make_frame(PING, b"\xfe" * 125), [(PONG, b"\xfe" * 125)]),
    "2.7 an unsolicited pong": (make_frame(PONG) + make_frame(PONG, b"x"), []),
    "2.9 a ping after an unsolicited pong": (make_frame(PONG, b"x") + make_frame(PING, b"y"), [(PONG, b"y")]),
    "2.10 ten pings": (
        b"".join(make_frame(PING, b"%d" % n) for n in range(10)),
        [(PONG, b"%d" % n) for n in range(10)],
    ),
    "5.3 two fragments": (fragmented(TEXT, b"one", b"two"), [(TEXT, b"onetwo")]),
    "5.3 empty fragments": (fragmented(BINARY, b"", b"", b""), [(BINARY, b"")]),
    "5.6 a ping between fragments": (
        fragmented(TEXT, b"one", b"two", between=make_frame(PING, b"p")),
        [(PONG, b"p"), (TEXT, b"onetwo")],
    ),
    "5.19 pings between many fragments": (
        fragmented(TEXT, *[b"x"] * 5, between=make_frame(PING, b"p")),
        [*[(PONG, b"p")] * 4, (TEXT, b"xxxxx")],
    ),
    "6.2 text in fragments": (
        fragmented(TEXT, "Hello-µ@".encode(), "ßöäüàá".encode()),
        [(TEXT, "Hello-µ@ßöäüàá".encode())],
    ),
    "6.2 each byte a fragment": (fragmented(TEXT, *(bytes([byte]) for byte in GREEK)), [(TEXT, GREEK)]),
    "6.1 empty text": (make_frame(TEXT) + fragmented(TEXT, b"", b""), [(TEXT, b"")] * 2),
    "9.3 many fragments": (fragmented(TEXT, *[b"*" * 4096] * 256), [(TEXT, b"*" * (1 << 20))]),
    "9.4 many binary fragments": (fragmented(BINARY, *[b"\xfe" * 65536] * 64), [(BINARY, b"\xfe" * (4 << 20))]),
    "9.2 the largest message": (make_frame(BINARY, bytes(16 << 20)), [(BINARY, bytes(16 << 20))]),
    "9.7 a thousand small ones": (make_frame(TEXT, b"x" * 64) * 1000, [(TEXT, b"x" * 64)] * 1000),
    "10.1 small fragments": (fragmented(TEXT, *[b"*" * 1300] * 50), [(TEXT, b"*" * 65000)]),
}

VALID = [
    *(b"\0", b"\x7f", b"\xc2\x80", b"\xdf\xbf", b"\xe0\xa0\x80", b"\xef\xbf\xbf", b"\xf0\x90\x80\x80"),
    *(b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf", b"\xef\xbf\xbe", b"\xf0\x9f\xbf\xbe"),
    GREEK,
]
"""6.5 to 6.23: first and last characters of each length, neighbours of the surrogates, noncharacters."""

INVALID = [
    *(b"\x80", b"\xbf", b"\xc0", b"\xfe", b"\xff", b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf"),
    *(b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"),
    *(b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x8e", b"\xc3("),
]
"""6.3 to 6.22: stray bytes, overlong forms, values beyond Unicode, surrogates, truncated sequences."""

CLOSES: dict[str, tuple[bytes, int]] = {
    "2.5 a ping too long": (make_frame(PING, b"\xfe" * 126), BAD_FRAME),
    **{f"3 reserved bits {rsv} of text": (make_frame(TEXT, b"x", rsv=rsv), BAD_FRAME) for rsv in range(1, 8)},
    "3.5 a reserved bit of a binary frame": (make_frame(BINARY, b"x", rsv=5), BAD_FRAME),
    "3.6 a reserved bit of a ping": (make_frame(PING, b"x", rsv=6), BAD_FRAME),
    "3.7 a reserved bit of a close": (make_frame(CLOSE, rsv=7), BAD_FRAME),
    **{f"4 opcode {opcode}": (make_frame(opcode), BAD_FRAME) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "5.1 a ping in fragments": (fragmented(PING, b"a", b"b"), BAD_FRAME),
    "5.2 a pong in fragments": (fragmented(PONG, b"a", b"b"), BAD_FRAME),
    "5.9 a continuation without a start": (make_frame(CONTINUATION, b"x"), BAD_FRAME),
    "5.12 an incomplete continuation without a start": (
        make_frame(CONTINUATION, b"x", fin=False) + make_frame(TEXT, b"x"),
        BAD_FRAME,
    ),
    "5.18 text within text": (make_frame(TEXT, b"a", fin=False) + make_frame(TEXT, b"b"), BAD_FRAME),
    "5.18 binary within text": (make_frame(TEXT, b"a", fin=False) + make_frame(BINARY, b"b"), BAD_FRAME),
    "a frame without a mask": (make_frame(TEXT, b"x", mask=False), BAD_FRAME),
    "a length in a longer form than necessary": (b"\x81\xfe\0\x01" + bytes(5), BAD_FRAME),
    "a length beyond 63 bits": (b"\x82\xff" + (1 << 63).to_bytes(8) + bytes(4), BAD_FRAME),
    "a length beyond all limits": (b"\x82\xff" + (1 << 62).to_bytes(8) + bytes(4), TOO_BIG),
    "a message beyond all limits": (fragmented(BINARY, *[bytes(6 << 20)] * 3), TOO_BIG),
    **{f"6 invalid UTF-8: {text!r}": (make_frame(TEXT, GREEK + text), BAD_TEXT) for text in INVALID},
    "6.4.1 detected in the first invalid fragment": (make_frame(TEXT, GREEK + b"\xf4\x90", fin=False), BAD_TEXT),
    "6.4.2 detected in the next fragment": (
        make_frame(TEXT, GREEK + b"\xf4", fin=False) + make_frame(CONTINUATION, b"\x90", fin=False),
        BAD_TEXT,
    ),
    "6.4.3 detected within a frame": (make_frame(TEXT, GREEK + b"\xf4\x90" + b"x" * 100)[:-100], BAD_TEXT),
    "7.1.1 a close": (close_frame(NORMAL) + make_frame(TEXT, b"too late"), NORMAL),
    "7.1.2 two closes": (close_frame(NORMAL) * 2, NORMAL),
    "7.1.3 a ping after a close": (close_frame(NORMAL) + make_frame(PING), NORMAL),
    "7.1.5 a close between fragments": (make_frame(TEXT, b"a", fin=False) + close_frame(NORMAL), NORMAL),
    "7.3.1 a close without a code": (make_frame(CLOSE), NORMAL),
    "7.3.2 half a code": (make_frame(CLOSE, b"\x03"), BAD_FRAME),
    "7.3.5 the longest reason": (close_frame(NORMAL, b"x" * 123), NORMAL),
    "7.3.6 a reason too long": (close_frame(NORMAL, b"x" * 124), BAD_FRAME),
    "7.5.1 a reason that is not UTF-8": (close_frame(NORMAL, GREEK + b"\xed\xa0\x80"), BAD_TEXT),
    "7.5.1 a reason cut short": (close_frame(NORMAL, b"\xc3"), BAD_TEXT),
    **{
        f"7.7 code {code}": (close_frame(code, b"bye"), NORMAL)
        for code in (1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
    },
    **{
        f"7.9 code {code}": (close_frame(code), BAD_FRAME)
        for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535)
    },
}


@pytest.mark.parametrize("send", SENDS)
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_1_messages_of_any_length(echo: Http, opcode: Opcode, send: Any) -> None:
    sizes = [0, 1, 124, 125, 126, 127, 128, 65535, 65536, 65537]
    send(echo, b"".join(make_frame(opcode, b"*" * size) for size in sizes) + close_frame(NORMAL))
    assert read_frames(echo) == ([(opcode, b"*" * size) for size in sizes], NORMAL)


@pytest.mark.parametrize("name", ECHOED)
def test_valid_frames_are_echoed(echo: Http, name: str) -> None:
    sent, frames = ECHOED[name]
    echo.send(sent + close_frame(NORMAL))
    assert read_frames(echo) == (frames, NORMAL)


@pytest.mark.parametrize("name", [name for name, (sent, _) in ECHOED.items() if len(sent) < 500])
def test_valid_frames_byte_by_byte(echo: Http, name: str) -> None:
    sent, frames = ECHOED[name]
    send_bytewise(echo, sent + close_frame(NORMAL))
    assert read_frames(echo) == (frames, NORMAL)


@pytest.mark.parametrize("text", VALID, ids=repr)
def test_6_valid_text_in_fragments(echo: Http, text: bytes) -> None:
    cuts = [fragmented(TEXT, text[:at], text[at:]) for at in range(len(text) + 1)]
    echo.send(make_frame(TEXT, text) + b"".join(cuts) + close_frame(NORMAL))
    assert read_frames(echo) == ([(TEXT, text)] * (len(cuts) + 1), NORMAL)


@pytest.mark.parametrize("text", INVALID, ids=repr)
def test_6_invalid_text_in_fragments(port: int, text: bytes) -> None:
    for at in range(len(text) + 1):
        with Http(port) as echo:
            echo.send_request("GET", "/echo/any", HANDSHAKE)
            assert echo.head().status == 101
            echo.send(fragmented(TEXT, text[:at], text[at:]))
            assert read_frames(echo) == ([], BAD_TEXT)


def test_6_binary_frames_are_not_validated(echo: Http) -> None:
    echo.send(b"".join(make_frame(BINARY, text) for text in INVALID) + close_frame(NORMAL))
    assert read_frames(echo) == ([(BINARY, text) for text in INVALID], NORMAL)


@pytest.mark.parametrize("name", CLOSES)
def test_close_code_after_earlier_messages_are_answered(echo: Http, name: str) -> None:
    sent, code = CLOSES[name]
    echo.send(make_frame(TEXT, b"before") + sent)
    assert read_frames(echo) == ([(TEXT, b"before")], code)
    if code == NORMAL:
        assert echo.rest() == b"", "nothing after the answered close"
