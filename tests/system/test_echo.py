"""What a WebSocket does by the letter of RFC 6455, in the order of the Autobahn test suite, whose numbers stand beside.

The suite itself needs Python 2, so these are its cases written anew, against the same echo: see docs/security.md.
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

TEXT, BINARY, CLOSE, PING, PONG, MORE = (
    Opcode.TEXT,
    Opcode.BINARY,
    Opcode.CLOSE,
    Opcode.PING,
    Opcode.PONG,
    Opcode.CONT,
)
GOODBYE = 1000
BAD_FRAME, BAD_TEXT, TOO_BIG = 1002, 1007, 1009
KEY = b"\x37\xfa\x21\x3d"
GREEK = "κόσμε".encode()
Heard = list[tuple[int, bytes]]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The echo, as a program of its own, and a look at its log when all is done."""
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
    """An open WebSocket that says back what it hears."""
    with Http(port) as http:
        http.send_request("GET", "/echo/any", HANDSHAKE)
        assert http.head().status == 101
        yield http


def made(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bool = True) -> bytes:
    """Make a frame, right or wrong."""
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


def parts(opcode: Opcode, *payloads: bytes, between: bytes = b"") -> bytes:
    """Make a message of several frames."""
    last = len(payloads) - 1
    frames = [made(MORE if at else opcode, payload, fin=at == last) for at, payload in enumerate(payloads)]
    return between.join(frames)


def closing(code: int, reason: bytes = b"") -> bytes:
    """Make a frame that closes."""
    return made(CLOSE, code.to_bytes(2) + reason)


def hear(echo: Http) -> tuple[Heard, int]:
    """Read to the close; give what came before, and the code."""
    heard: Heard = []
    while True:
        first, size = echo.read(2)
        assert first & 0x70 == 0 and first & 0x80, "no reserved bit, no fragment"
        assert size < 128, "not masked"
        if size > 125:
            size = int.from_bytes(echo.read(2 if size == 126 else 8))
        payload = echo.read(size)
        if first & 0x0F == CLOSE:
            return heard, int.from_bytes(payload[:2])
        heard.append((first & 0x0F, payload))


def bytewise(echo: Http, data: bytes) -> None:
    """Send byte by byte; the socket does not join them."""
    for at in range(len(data)):
        echo.send(data[at : at + 1])


def in_pieces(echo: Http, data: bytes) -> None:
    """Send in pieces of the size that the suite has."""
    for at in range(0, len(data), 997):
        echo.send(data[at : at + 997])


SENDS: list[Callable[[Http, bytes], None]] = [Http.send, in_pieces]

COMES_BACK: dict[str, tuple[bytes, Heard]] = {
    "2.2 a ping": (made(PING, b"Hello"), [(PONG, b"Hello")]),
    "2.1 an empty ping": (made(PING), [(PONG, b"")]),
    "2.3 a ping of any bytes": (made(PING, b"\0\xff\xfe\xfd"), [(PONG, b"\0\xff\xfe\xfd")]),
    "2.4 the longest ping": (made(PING, b"\xfe" * 125), [(PONG, b"\xfe" * 125)]),
    "2.7 a pong that nobody asked for": (made(PONG) + made(PONG, b"x"), []),
    "2.9 a ping behind such a pong": (made(PONG, b"x") + made(PING, b"y"), [(PONG, b"y")]),
    "2.10 ten pings": (
        b"".join(made(PING, b"%d" % n) for n in range(10)),
        [(PONG, b"%d" % n) for n in range(10)],
    ),
    "5.3 two fragments": (parts(TEXT, b"one", b"two"), [(TEXT, b"onetwo")]),
    "5.3 empty fragments": (parts(BINARY, b"", b"", b""), [(BINARY, b"")]),
    "5.6 a ping amid fragments": (
        parts(TEXT, b"one", b"two", between=made(PING, b"p")),
        [(PONG, b"p"), (TEXT, b"onetwo")],
    ),
    "5.19 pings amid many fragments": (
        parts(TEXT, *[b"x"] * 5, between=made(PING, b"p")),
        [*[(PONG, b"p")] * 4, (TEXT, b"xxxxx")],
    ),
    "6.2 text in fragments": (parts(TEXT, "Hello-µ@".encode(), "ßöäüàá".encode()), [(TEXT, "Hello-µ@ßöäüàá".encode())]),
    "6.2 each byte a fragment": (parts(TEXT, *(bytes([byte]) for byte in GREEK)), [(TEXT, GREEK)]),
    "6.1 empty text": (made(TEXT) + parts(TEXT, b"", b""), [(TEXT, b"")] * 2),
    "9.3 many fragments": (parts(TEXT, *[b"*" * 4096] * 256), [(TEXT, b"*" * (1 << 20))]),
    "9.4 many binary fragments": (parts(BINARY, *[b"\xfe" * 65536] * 64), [(BINARY, b"\xfe" * (4 << 20))]),
    "9.2 the largest message": (made(BINARY, bytes(16 << 20)), [(BINARY, bytes(16 << 20))]),
    "9.7 a thousand small ones": (made(TEXT, b"x" * 64) * 1000, [(TEXT, b"x" * 64)] * 1000),
    "10.1 small fragments": (parts(TEXT, *[b"*" * 1300] * 50), [(TEXT, b"*" * 65000)]),
}

VALID = [
    *(b"\0", b"\x7f", b"\xc2\x80", b"\xdf\xbf", b"\xe0\xa0\x80", b"\xef\xbf\xbf", b"\xf0\x90\x80\x80"),
    *(b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf", b"\xef\xbf\xbe", b"\xf0\x9f\xbf\xbe"),
    GREEK,
]
"""6.5 to 6.23: the first and last letters of each length, what is next to the surrogates, and no letters."""

INVALID = [
    *(b"\x80", b"\xbf", b"\xc0", b"\xfe", b"\xff", b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf"),
    *(b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"),
    *(b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x8e", b"\xc3("),
]
"""6.3 to 6.22: stray bytes, longer than need be, beyond Unicode, surrogates, cut short."""

CLOSES: dict[str, tuple[bytes, int]] = {
    "2.5 a ping too long": (made(PING, b"\xfe" * 126), BAD_FRAME),
    **{f"3 reserved bits {rsv} of text": (made(TEXT, b"x", rsv=rsv), BAD_FRAME) for rsv in range(1, 8)},
    "3.5 a reserved bit of a binary frame": (made(BINARY, b"x", rsv=5), BAD_FRAME),
    "3.6 a reserved bit of a ping": (made(PING, b"x", rsv=6), BAD_FRAME),
    "3.7 a reserved bit of a close": (made(CLOSE, rsv=7), BAD_FRAME),
    **{f"4 opcode {opcode}": (made(opcode), BAD_FRAME) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "5.1 a ping in fragments": (parts(PING, b"a", b"b"), BAD_FRAME),
    "5.2 a pong in fragments": (parts(PONG, b"a", b"b"), BAD_FRAME),
    "5.9 the rest of nothing": (made(MORE, b"x"), BAD_FRAME),
    "5.12 the rest of nothing, to be continued": (made(MORE, b"x", fin=False) + made(TEXT, b"x"), BAD_FRAME),
    "5.18 text within text": (made(TEXT, b"a", fin=False) + made(TEXT, b"b"), BAD_FRAME),
    "5.18 binary within text": (made(TEXT, b"a", fin=False) + made(BINARY, b"b"), BAD_FRAME),
    "a frame without a mask": (made(TEXT, b"x", mask=False), BAD_FRAME),
    "a length that is longer than need be": (b"\x81\xfe\0\x01" + bytes(5), BAD_FRAME),
    "a length beyond 63 bits": (b"\x82\xff" + (1 << 63).to_bytes(8) + bytes(4), BAD_FRAME),
    "a length beyond all limits": (b"\x82\xff" + (1 << 62).to_bytes(8) + bytes(4), TOO_BIG),
    "a message beyond all limits": (parts(BINARY, *[bytes(6 << 20)] * 3), TOO_BIG),
    **{f"6 no letters: {text!r}": (made(TEXT, GREEK + text), BAD_TEXT) for text in INVALID},
    "6.4.1 told as soon as a fragment shows it": (made(TEXT, GREEK + b"\xf4\x90", fin=False), BAD_TEXT),
    "6.4.2 told in the fragment after": (
        made(TEXT, GREEK + b"\xf4", fin=False) + made(MORE, b"\x90", fin=False),
        BAD_TEXT,
    ),
    "6.4.3 told within a frame": (made(TEXT, GREEK + b"\xf4\x90" + b"x" * 100)[:-100], BAD_TEXT),
    "7.1.1 a close": (closing(GOODBYE) + made(TEXT, b"too late"), GOODBYE),
    "7.1.2 two closes": (closing(GOODBYE) * 2, GOODBYE),
    "7.1.3 a ping behind a close": (closing(GOODBYE) + made(PING), GOODBYE),
    "7.1.5 a close amid fragments": (made(TEXT, b"a", fin=False) + closing(GOODBYE), GOODBYE),
    "7.3.1 a close that says nothing": (made(CLOSE), GOODBYE),
    "7.3.2 half a code": (made(CLOSE, b"\x03"), BAD_FRAME),
    "7.3.5 the longest reason": (closing(GOODBYE, b"x" * 123), GOODBYE),
    "7.3.6 a reason too long": (closing(GOODBYE, b"x" * 124), BAD_FRAME),
    "7.5.1 a reason that is no text": (closing(GOODBYE, GREEK + b"\xed\xa0\x80"), BAD_TEXT),
    "7.5.1 a reason cut short": (closing(GOODBYE, b"\xc3"), BAD_TEXT),
    **{
        f"7.7 code {code}": (closing(code, b"bye"), GOODBYE)
        for code in (1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
    },
    **{
        f"7.9 code {code}": (closing(code), BAD_FRAME)
        for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535)
    },
}


@pytest.mark.parametrize("send", SENDS)
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_1_messages_of_any_length_come_back(echo: Http, opcode: Opcode, send: Any) -> None:
    sizes = [0, 1, 124, 125, 126, 127, 128, 65535, 65536, 65537]
    send(echo, b"".join(made(opcode, b"*" * size) for size in sizes) + closing(GOODBYE))
    assert hear(echo) == ([(opcode, b"*" * size) for size in sizes], GOODBYE)


@pytest.mark.parametrize("name", COMES_BACK)
def test_what_is_right_is_answered(echo: Http, name: str) -> None:
    sent, heard = COMES_BACK[name]
    echo.send(sent + closing(GOODBYE))
    assert hear(echo) == (heard, GOODBYE)


@pytest.mark.parametrize("name", [name for name, (sent, _) in COMES_BACK.items() if len(sent) < 500])
def test_what_comes_byte_by_byte_is_the_same(echo: Http, name: str) -> None:
    sent, heard = COMES_BACK[name]
    bytewise(echo, sent + closing(GOODBYE))
    assert hear(echo) == (heard, GOODBYE)


@pytest.mark.parametrize("text", VALID, ids=repr)
def test_6_every_letter_is_text_wherever_it_is_cut(echo: Http, text: bytes) -> None:
    cuts = [parts(TEXT, text[:at], text[at:]) for at in range(len(text) + 1)]
    echo.send(made(TEXT, text) + b"".join(cuts) + closing(GOODBYE))
    assert hear(echo) == ([(TEXT, text)] * (len(cuts) + 1), GOODBYE)


@pytest.mark.parametrize("text", INVALID, ids=repr)
def test_6_what_is_no_text_is_none_wherever_it_is_cut(port: int, text: bytes) -> None:
    for at in range(len(text) + 1):
        with Http(port) as echo:
            echo.send_request("GET", "/echo/any", HANDSHAKE)
            assert echo.head().status == 101
            echo.send(parts(TEXT, text[:at], text[at:]))
            assert hear(echo) == ([], BAD_TEXT)


def test_6_binary_frames_may_hold_what_is_no_text(echo: Http) -> None:
    echo.send(b"".join(made(BINARY, text) for text in INVALID) + closing(GOODBYE))
    assert hear(echo) == ([(BINARY, text) for text in INVALID], GOODBYE)


@pytest.mark.parametrize("name", CLOSES)
def test_what_ends_it_is_told_by_its_code_and_what_came_before_is_answered(echo: Http, name: str) -> None:
    sent, code = CLOSES[name]
    echo.send(made(TEXT, b"before") + sent)
    assert hear(echo) == ([(TEXT, b"before")], code)
    if code == GOODBYE:
        assert echo.rest() == b"", "nothing behind a close that is answered"
