"""Streams of HTTP requests that are hard to frame: valid, unusual and invalid ones, from a seeded generator.

Channels and bodies contain the token of their stream, so that misplaced data is recognized.
"""

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Final, NamedTuple

from tests.daemon.clients import HANDSHAKE
from tests.system.rfc9112 import Reading, read

ENDED: Final = "framing/ended"
"""A channel that must have ended: a stream of it is a complete response."""

_HANDSHAKE: Final = [f"{name}: {value}" for name, value in HANDSHAKE.items()]
_UPGRADES: Final = (
    ["Connection: Upgrade", "Upgrade: h2c"],
    ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"],
    ["Connection: Upgrade", "Upgrade: x"],
    ["connection: upgrade", "upgrade: TLS/1.0, x/2"],
    ["Connection: keep-alive, Upgrade", "Upgrade: h2c, x"],
    ["Upgrade: h2c"],
    ["Connection: Upgrade"],
)
_HARMLESS: Final[tuple[list[str], ...]] = (
    [],
    ["Connection: keep-alive"],
    ["Connection: Keep-Alive, X-Hop", "X-Hop: 1"],
    ["Expect: 100-continue"],
    ["Accept: text/plain"],
    ["Authorization: Bearer none"],
    ["X-Forwarded-For: 192.0.2.1"],
    ["X-Empty:"],
    ["X-Long: " + "x" * 600],
    ["Content-Type: text/plain"],
)
_DOUBTFUL: Final = (
    _HANDSHAKE,
    ["Connection: Upgrade", "Upgrade: websocket"],
    ["Connection: Upgrade", "Upgrade: h2c, websocket", "Sec-WebSocket-Version: 13"],
    ["Expect: x"],
    ["Expect: 100-continue, x"],
    ["Host: other.example"],
    ["Host: localhost"],
    ["X-Fold: a\r\n b"],
    ["X-Fold: a\r\n\tContent-Length: 7"],
    ["Connection: Content-Length"],
    ["Connection: Transfer-Encoding"],
    ["Connection: Host"],
    ["Connection: close"],
    ["Connection: keep-alive, close"],
    ["Connection: Authorization"],
    ["X-Space : a"],
    ["X-Control: a\x01b"],
    ["X-Return: a\rb"],
    ["Content-Length: 0"],
    ["Content-Length: 5"],
    ["Transfer-Encoding: chunked"],
    ["Transfer-Encoding: identity"],
    ["Transfer-Encoding: gzip"],
    ["Transfer-Encoding:"],
)
_LENGTHS: Final = (
    *("{0}, {0}", "{0}\r\nContent-Length: {0}", "+{0}", "-{0}", "0{0}", "{0}, 7", "{0}\r\nContent-Length: 7"),
    *("{0} 0", "0x{0}", "{0}.0", "", "{0};x", "\x0b{0}", "{1}", "{2}"),
)
_CODINGS: Final = (
    *("Chunked", "chunked, chunked", "gzip, chunked", "identity, chunked", "chunked, identity", "xchunked"),
    *("chunked\r\nTransfer-Encoding: identity", "\x0bchunked", "chunked;q=1", '"chunked"', "chun\r\n ked", ","),
    *("chunked\r\nContent-Length: 3", "chunked\r\nContent-Length: 0", "chunked\r\nContent-Length: 9999"),
)
_SIZES: Final = (
    *("0{0:x}", "00000000000000{0:x}", "{0:X}", "{0:x};x", '{0:x};x="y"', "{0:x} ; x=y", "{0:x} ", " {0:x}", "0x{0:x}"),
    *(
        "+{0:x}",
        "-{0:x}",
        "{0:x};x\n",
        "{0:x}\r",
        "g",
        "",
        "ffffffffffffffff",
        "1000000000000000{0:x}",
        "{1:x}",
        "{2:x}",
    ),
)
_TARGETS: Final = (
    "http://localhost{0}",
    "HTTP://localhost{0}",
    "http://other.example{0}",
    "http://user@localhost{0}",
    "/%70{1}",
    "/pu%62{2}",
    "/{0}",
    "/.{0}",
    "/x/..{0}",
    "{0}#x",
    "{0}\x7f",
    "x{0}",
)
_STRANGE_METHODS: Final = (
    "PATCH",
    "TRACE",
    "PROPFIND",
    "XYZZY",
    "post",
    "Get",
    "SEARCH",
    "M-SEARCH",
    "SOURCE",
    "X" * 41,
)


class Stream(NamedTuple):
    """What one client sends on one connection."""

    token: str
    segments: list[bytes]
    waits: list[int]
    """For each segment, the number of responses to read before it is sent."""
    is_half_closed: bool
    """Whether the client half-closes at the end; otherwise the last request has `Connection: close`."""
    is_aborted: bool
    """Whether the client disconnects without reading."""

    @property
    def data(self) -> bytes:
        """The whole stream."""
        return b"".join(self.segments)


class Generator:
    """Generates streams, the same ones for the same seed."""

    def __init__(self, seed: str, *, may_wait: bool, may_overflow: bool) -> None:
        """
        :param may_wait: a half-closed stream may end with a long poll that nobody reads. Some proxies do not
            detect that.
        :param may_overflow: a `Content-Length` may exceed 64 bits. HAProxy 2.6 drops the upper ones.
        """
        self._choose = random.Random(seed)
        self._may_wait = may_wait
        self._lengths = (*_LENGTHS, "184467440737095516170") if may_overflow else _LENGTHS

    def stream(self, token: str) -> Stream:
        """Return a stream of some requests: half of the streams are valid, the others have one or two mutations."""
        choose = self._choose
        count = choose.choice((1, 1, 2, 2, 3, 4, 6))
        broken = set(choose.choices(range(count), k=choose.randint(1, 2))) if choose.random() < 0.5 else set()
        made = [self._request(token, str(number), number in broken) for number in range(count)]
        data = b"".join(made)
        is_half_closed = is_aborted = False
        match choose.randrange(12):
            case 0:
                is_half_closed = True
                if self._may_wait and choose.random() < 0.5:
                    data += self._line("GET", f"/longpoll/s/{token}/wait") + b"Host: localhost\r\n\r\n"
                    data += choose.choice((b"", made[0], made[0][:20]))
            case 1 | 2:
                data, is_half_closed = data[: choose.randrange(len(data)) + 1], True
            case 3:
                data, is_aborted = data[: choose.randrange(len(data)) + 1], True
            case _:
                data += self._line("GET", f"/pub/s/{token}/end") + b"Host: localhost\r\nConnection: close\r\n\r\n"
        reading = read(data)
        is_half_closed |= "incomplete" in reading.tail and not is_aborted
        if choose.random() < 0.2 and _is_certain(reading):
            segments, waits = self._one_by_one(data, reading)
        else:
            segments = self._cut(data)
            waits = [0] * len(segments)
        return Stream(token, segments, waits, is_half_closed, is_aborted)

    # Requests

    def _request(self, token: str, number: str, is_broken: bool) -> bytes:
        choose = self._choose
        method = choose.choice(("POST", "POST", "POST", "PUT", "GET", "GET", "HEAD", "DELETE", "OPTIONS"))
        target = f"/pub/s/{token}/{choose.choice((number, number, '0'))}"
        if method in ("GET", "HEAD"):
            target = choose.choice(
                (
                    *(target, f"/poll/s/{token}/{number}", f"/longpoll/s/{token}/{number}?timeout=0"),
                    *(f"/stream/{ENDED}?since=all", f"/sse/{ENDED}?since=all"),
                    *(f"/history/s/{token}/*", f"/nowhere/{token}"),
                )
            )
        has_body = method in ("POST", "PUT") or choose.random() < 0.3
        headers = list(choose.choice(_HARMLESS))
        if choose.random() < 0.5:
            headers += choose.choice(_UPGRADES)
        body = self._body(token, number) if has_body else b""
        framed = self._framed(body) if body else ([], b"")
        mutate: Callable[..., bytes] = self._mutated if is_broken else self._plain
        return mutate(method, target, headers, framed, body)

    def _body(self, token: str, number: str) -> bytes:
        """Return a body: plain text, or text that looks like requests and must not be parsed as such."""
        own, end = f"body {token} {number}", " HTTP/1.1\r\nHost: localhost\r\n"
        evil = f"POST /pub/evil/{token}{end}"
        text = self._choose.choice(
            (
                own,
                own + " " + "x" * self._choose.choice((1, 100, 1500)),
                f"DELETE /pub/victim/{token}{end}\r\n",
                f"{evil}Content-Length: {len(own)}\r\n\r\n{own}",
                f"{evil}Content-Length: 400\r\n\r\n{own}",
                f"{evil}Transfer-Encoding: chunked\r\n\r\n",
                f"GET /history/**{end}\r\n",
                f"0\r\n\r\nPUT /pub/evil/{token}{end}Content-Length: 1\r\n\r\nx",
                f"helloXYZZY /x{end}\r\nDELETE /pub/victim/{token}{end}\r\n",
                f"\r\n\r\nGET /pub/victim/{token}{end}Connection: close\r\n\r\n",
                f"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n{own}",
            )
        )
        return text.encode("ascii")

    def _framed(self, body: bytes, size: str = "") -> tuple[list[str], bytes]:
        """Return the header lines that frame a body, and the encoded body.

        :param size: the form of one chunk size; if empty, the framing is random.
        """
        choose = self._choose
        if not size and choose.random() < 0.6:
            return [f"{choose.choice(('Content-Length', 'content-length'))}: {len(body)}"], body
        cuts = sorted({0, len(body), *(choose.randrange(len(body) + 1) for _ in range(choose.randrange(4)))})
        chunks = [body[start:end] for start, end in pairwise(cuts)]
        odd = choose.randrange(len(chunks)) if size else -1
        sent = b"".join(
            (size if number == odd else "{0:x}").format(len(chunk), len(chunk) + 1, len(chunk) - 1).encode("ascii")
            + b"\r\n%b\r\n" % chunk
            for number, chunk in enumerate(chunks)
        )
        trailers = choose.choice((b"", b"", b"X-Trailer: 1\r\n", b"Content-Length: 3\r\nHost: other\r\n"))
        return [
            f"{choose.choice(('Transfer-Encoding', 'transfer-encoding'))}: chunked"
        ], sent + b"0\r\n%b\r\n" % trailers

    def _plain(
        self, method: str, target: str, headers: list[str], framed: tuple[list[str], bytes], body: bytes
    ) -> bytes:
        lines = ["Host: localhost", *headers, *framed[0]]
        self._choose.shuffle(lines)
        return (
            self._line(method, target)
            + "".join(f"{line}\r\n" for line in lines).encode("latin-1")
            + b"\r\n"
            + framed[1]
        )

    def _mutated(
        self, method: str, target: str, headers: list[str], framed: tuple[list[str], bytes], body: bytes
    ) -> bytes:
        choose, prefix, version = self._choose, b"", "1.1"
        size = len(body)
        match choose.randrange(9):
            case 0:
                method = choose.choice((*_STRANGE_METHODS, "CONNECT"))
                if method == "CONNECT":
                    target, framed = choose.choice((target, "localhost:80")), ([], b"")
                prefix = choose.choice((b"", b"", b"\r\n", b"\r\n\r\n"))
            case 1:
                prefix = choose.choice((b"\r\n", b"\r\n\r\n", b"\n", b"\r\n" * 20, b" ", b"\0", b"\r"))
            case 2:
                version = choose.choice(("1.0", "1.0", "1.2", "2.0", "0.9", "1.1 ", "1.10", "1"))
            case 3:
                form = choose.choice(_TARGETS)
                target = form.format(target, target.removeprefix("/p"), target.removeprefix("/pub"))
            case 4:
                headers = headers + choose.choice(_DOUBTFUL)
            case 5:
                method, headers = choose.choice(("GET", "GET", "POST")), _HANDSHAKE
                target = target.replace("/pub/", "/ws/")
            case 6:
                length = choose.choice(self._lengths).format(size, size + 5, max(0, size - 7))
                framed = ([f"Content-Length: {length}"], body)
            case 7:
                chunks = self._framed(body or b"body", "{0:x}")[1]
                framed = ([f"Transfer-Encoding: {choose.choice(_CODINGS)}"], chunks)
            case _:
                framed = self._framed(body or b"body", choose.choice(_SIZES))
        sent = self._plain(method, target, headers, framed, body)
        if version != "1.1":
            sent = sent.replace(b"HTTP/1.1\r\n", f"HTTP/{version}\r\n".encode("ascii"), 1)
        match choose.randrange(20):
            case 0:
                sent = sent.replace(b"\r\n", b"\n", choose.choice((1, 2, 100)))
            case 1:
                sent = sent.replace(b"Host: localhost\r\n", choose.choice((b"", b"Host:\r\n", b"Host: a b\r\n")), 1)
            case _:
                pass
        return prefix + sent

    @staticmethod
    def _line(method: str, target: str) -> bytes:
        return f"{method} {target} HTTP/1.1\r\n".encode("latin-1")

    # Segments

    def _cut(self, data: bytes) -> list[bytes]:
        choose, size = self._choose, len(data)
        match choose.randrange(4):
            case 0:
                cuts = []
            case 1:
                start = choose.randrange(size)
                cuts = list(range(start, min(size, start + 30)))
            case _:
                cuts = [choose.randrange(size) for _ in range(choose.randint(1, 6))]
        cuts = sorted({0, *cuts, size})
        return [data[start:end] for start, end in pairwise(cuts)]

    def _one_by_one(self, data: bytes, reading: Reading) -> tuple[list[bytes], list[int]]:
        """Split a stream so that each request waits for the response to the previous one."""
        segments: list[bytes] = []
        waits: list[int] = []
        start = 0
        for number, request in enumerate(reading.requests):
            pieces = self._cut(data[start : request.end])
            segments += pieces
            waits += [number] * len(pieces)
            start = request.end
        return segments, waits


def _is_certain(reading: Reading) -> bool:
    """Return whether each request must be answered before the connection ends."""
    requests = reading.requests[:-1]
    may_end = any(request.doubts or request.may_be_last or request.path.endswith("/wait") for request in requests)
    return not (reading.tail or may_end)
