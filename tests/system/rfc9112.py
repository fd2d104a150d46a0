"""A strict reader of HTTP/1.1 request streams (RFC 9112), the reference for comparing servers.

It reads a whole stream and returns its requests. Where the RFC lets a recipient choose, the request has a doubt: a
server may refuse it, or else must read it exactly as here. The reader stops at the first octet that no recipient may
accept.
"""

import re
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final
from urllib.parse import unquote

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)( +)([\x21-\xff]+)( +)HTTP/([0-9]+\.[0-9]+)( *)")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\x00\r\n]*)")
_CONTROL = re.compile(rb"[^\t\x20-\x7e\x80-\xff]")
_CHUNK = re.compile(rb"0*([0-9A-Fa-f]{1,16})([ \t]*)((?:;[\t\x20-\x7e\x80-\xff]*)?)")
_ABSOLUTE = re.compile(r"https?://([^/?#]*)", re.IGNORECASE)
_HOST = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")


class Doubt(Enum):
    """Why a recipient may refuse a request instead of processing it."""

    SPACES = auto()
    """The request line has more than two spaces."""
    CONTROL = auto()
    """A header value has a control character."""
    METHOD = auto()
    CONNECT = auto()
    VERSION = auto()
    EMPTY_LINES = auto()
    """It is preceded by more than one empty line."""
    BARE_LF = auto()
    FOLD = auto()
    NO_HOST = auto()
    HOSTS = auto()
    BAD_HOST = auto()
    EMPTY_HOST = auto()
    AUTHORITY = auto()
    TARGET = auto()
    ENCODED_PATH = auto()
    TWO_FRAMINGS = auto()
    LENGTHS = auto()
    CODING = auto()
    OLD_CODING = auto()
    OLD_BODY = auto()
    """It is HTTP/1.0 and has a body that its method does not use."""
    EXPECT = auto()
    HANDSHAKE = auto()
    """It is, or resembles, a WebSocket handshake."""
    HOP_BY_HOP = auto()
    """`Connection` names an end-to-end header, which a proxy then removes."""
    CHUNK_SPACE = auto()
    """White space follows the chunk size."""
    TRAILER = auto()
    """A trailer is malformed, or has a forbidden name (RFC 9110, section 6.5.1)."""
    EXTENSION = auto()
    """A chunk has an extension, or there are trailers."""


@dataclass
class ParsedRequest:
    """A request of the stream."""

    method: str
    target: str
    is_old: bool
    """Whether it is HTTP/1.0."""
    headers: list[tuple[str, str]] = field(default_factory=list)
    """By lower-case name, in order."""
    body: bytes = b""
    doubts: set[Doubt] = field(default_factory=set)
    end: int = 0
    """Offset of its end in the stream."""

    def values(self, name: str) -> list[str]:
        """Return the elements of a list header, over all of its lines."""
        return [item.strip(" \t") for key, value in self.headers if key == name for item in value.split(",")]

    @property
    def path(self) -> str:
        """The decoded path."""
        return unquote(_ABSOLUTE.sub("", self.target, count=1).partition("?")[0])

    @property
    def is_last(self) -> bool:
        """Whether the connection ends with its response (RFC 9112, section 9.3)."""
        options = [option.lower() for option in self.values("connection")]
        return "keep-alive" not in options and ("close" in options or self.is_old)

    @property
    def may_be_last(self) -> bool:
        """Whether the connection may end with its response although the client did not request that."""
        is_requested = "close" in [option.lower() for option in self.values("connection")]
        return is_requested or self.is_old or Doubt.TWO_FRAMINGS in self.doubts


@dataclass
class Reading:
    """The requests of a stream."""

    requests: list[ParsedRequest] = field(default_factory=list)
    tail: str = ""
    """Why the reader stopped, or empty at the end of the stream."""
    tail_method: str = ""
    """The method of the request that cannot be read, if known."""

    @property
    def methods(self) -> list[str]:
        """The methods of all requests, including one that cannot be read."""
        return [*(request.method for request in self.requests), self.tail_method]


class Unreadable(Exception):
    """No recipient may accept what follows, or it is incomplete."""


def read(data: bytes) -> Reading:
    """Read a stream of requests to its end, or to the first fault."""
    reading, reader = Reading(), _Reader(data)
    try:
        while request := reader.request():
            reading.requests.append(request)
    except Unreadable as fault:
        reading.tail, reading.tail_method = str(fault), reader.method
    return reading


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._doubts: set[Doubt] = set()
        self.method = ""

    def request(self) -> ParsedRequest | None:
        """Return the next request; None at the end."""
        self._doubts, self.method = set(), ""
        rest = self._data[self._at :].lstrip(b"\r\n")
        start = len(self._data) - len(rest)
        if self._data[self._at : start] not in (b"", b"\r\n"):
            self._doubts.add(Doubt.EMPTY_LINES)
        if not rest:
            if start > self._at:
                raise Unreadable("incomplete line")
            return None
        self._at = start
        line = self._line()
        self.method = line.partition(b" ")[0].decode("latin-1")
        found = _REQUEST_LINE.fullmatch(line)
        if not found:
            raise Unreadable("bad request line")
        target, version = found[3].decode("latin-1"), found[5].decode("ascii")
        request = ParsedRequest(self.method, target, is_old=version == "1.0", doubts=self._doubts)
        if (found[2], found[4], found[6]) != (b" ", b" ", b""):
            self._doubts.add(Doubt.SPACES)
        if version not in ("1.0", "1.1"):
            self._doubts.add(Doubt.VERSION)
        request.headers = self._headers()
        _judge(request)
        request.body = self._body(request)
        if request.body and request.is_old and self.method not in ("POST", "PUT"):
            self._doubts.add(Doubt.OLD_BODY)
        request.end = self._at
        return request

    def _line(self) -> bytes:
        end = self._data.find(b"\n", self._at)
        line = self._data[self._at : end] if end >= 0 else self._data[self._at :]
        if b"\r" in line[:-1]:
            raise Unreadable("bare CR")
        if end < 0:
            raise Unreadable("incomplete line")
        self._at = end + 1
        if not line.endswith(b"\r"):
            self._doubts.add(Doubt.BARE_LF)
        return line.removesuffix(b"\r")

    def _headers(self) -> list[tuple[str, str]]:
        headers: list[tuple[str, str]] = []
        while line := self._line():
            if line[:1] in (b" ", b"\t") and headers:
                self._doubts.add(Doubt.FOLD)
                name, value = headers.pop()
                line = f"{name}: {value} ".encode("latin-1") + line.strip(b" \t")
            found = _HEADER.fullmatch(line)
            if not found:
                raise Unreadable("bad header line")
            if _CONTROL.search(found[2]):
                self._doubts.add(Doubt.CONTROL)
            headers.append((found[1].decode("ascii").lower(), found[2].decode("latin-1").strip(" \t")))
        return headers

    def _body(self, request: ParsedRequest) -> bytes:
        lengths, codings = request.values("content-length"), request.values("transfer-encoding")
        if not all(re.fullmatch("[0-9]+", length) for length in lengths) or len(set(lengths)) > 1:
            raise Unreadable("bad length")
        if len(lengths) > 1:
            request.doubts.add(Doubt.LENGTHS)
        if not codings:
            return self._exactly(int(lengths[0])) if lengths else b""
        if lengths:
            request.doubts.add(Doubt.TWO_FRAMINGS)
        if request.is_old:
            request.doubts.add(Doubt.OLD_CODING)
        if len(codings) > 1:
            request.doubts.add(Doubt.CODING)
        codings = [coding.lower() for coding in codings if coding] or [""]
        if codings[-1] != "chunked" or not all(re.fullmatch("[a-z]+", coding) for coding in codings):
            raise Unreadable("bad coding")
        return self._chunks()

    def _exactly(self, size: int) -> bytes:
        if len(self._data) - self._at < size:
            raise Unreadable("incomplete body")
        self._at += size
        return self._data[self._at - size : self._at]

    def _chunks(self) -> bytes:
        body = b""
        while True:
            found = _CHUNK.fullmatch(self._line())
            if not found:
                raise Unreadable("bad chunk")
            if found[3]:
                self._doubts.add(Doubt.EXTENSION)
            if found[2]:
                self._doubts.add(Doubt.CHUNK_SPACE)
            size = int(found[1], 16)
            if size == 0:
                break
            body += self._exactly(size)
            if self._line():
                raise Unreadable("bad end of chunk")
        while trailer := self._line():
            self._doubts.add(Doubt.EXTENSION)
            found = _HEADER.fullmatch(trailer)
            if not found or found[1].lower() in (b"content-length", b"transfer-encoding", b"host"):
                self._doubts.add(Doubt.TRAILER)
        return body


def _judge(request: ParsedRequest) -> None:
    """Add the doubts about a head, except those about the framing of its body."""
    doubts, target = request.doubts, request.target
    if request.method == "CONNECT":
        doubts.add(Doubt.CONNECT)
    elif request.method not in _METHODS:
        doubts.add(Doubt.METHOD)
    hosts = [value for name, value in request.headers if name == "host"]
    if len(hosts) > 1:
        doubts.add(Doubt.HOSTS)
    if not hosts:
        doubts.add(Doubt.EMPTY_HOST if request.is_old else Doubt.NO_HOST)
    for host in hosts:
        if not host:
            doubts.add(Doubt.EMPTY_HOST)
        elif not _HOST.fullmatch(host) or host.startswith(":"):
            doubts.add(Doubt.BAD_HOST)
    if authority := _ABSOLUTE.match(target):
        if hosts != [authority[1]]:
            doubts.add(Doubt.AUTHORITY)
    elif not (target.startswith("/") or (target == "*" and request.method == "OPTIONS")):
        doubts.add(Doubt.TARGET)
    if re.search("//|/[.]|[^!-~]|#", _ABSOLUTE.sub("", target)):
        doubts.add(Doubt.TARGET)
    first = _ABSOLUTE.sub("", target, count=1).partition("?")[0].split("/")[1:2]
    if first and "%" in first[0]:
        doubts.add(Doubt.ENCODED_PATH)
    if any(value.lower() != "100-continue" for value in request.values("expect")):
        doubts.add(Doubt.EXPECT)
    if "websocket" in (value.lower() for value in request.values("upgrade")):
        doubts.add(Doubt.HANDSHAKE)
    if {option.lower() for option in request.values("connection")} & {"host", "content-length", "transfer-encoding"}:
        doubts.add(Doubt.HOP_BY_HOP)
