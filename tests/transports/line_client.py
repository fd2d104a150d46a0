"""A client of TCP lines, in the three formats."""

import json
import re
from collections import deque
from typing import ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from tests.transports.client import Client, Closed, End, ErrorLine, Gap, Item, Received, Refused

_ESCAPE = re.compile(rb"\\(?:([\\nr])|x([0-9a-f]{2}))")
_MEANT = {b"\\": b"\\", b"n": b"\n", b"r": b"\r"}
_ANSWERS = (b"+OK", b"-ERR", b"PONG")


class _Lines(Protocol):
    """The connection of a client."""

    def __init__(self, client: "LineClient") -> None:
        self._client = client
        self._rest = b""

    def dataReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._client.line(line)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        is_whole = reason.check(ConnectionDone) is not None and not self._rest
        self._client.deliver_result(Closed(None, is_whole))


class LineClient(Client):
    """A client of the line protocol."""

    transport_name = "tcp"
    is_two_way = True
    closes_at_end = False
    format: ClassVar[str]

    def open(self) -> None:
        """Connect, and set the format."""
        self.greeting: dict[str, object] = {}
        self.extra: list[bytes] = []
        """Lines of replies with several lines."""
        self._asked: deque[Deferred[bytes]] = deque()
        self.protocol = _Lines(self)
        self.daemon.connect("tcp", self.protocol, small=self.small)
        if self.format != "text":
            self.send(f"FORMAT {self.format}")

    async def subscribe(self, topics: str, since: str | None = None, slow: str | None = None) -> None:
        """See `Client`."""
        if self.protocol is None:
            self.open()
        options = (f" since={since}" if since is not None else "") + (f" slow={slow}" if slow is not None else "")
        answer = await self.ask(f"SUB {topics}{options}")
        answer, _, gap = answer.partition(" gap=")
        self.gap = gap or None
        self.start_cursor = None
        self.begin_at(answer.partition(" cursor=")[2])

    def send(self, line: str | bytes) -> "Deferred[str]":
        """Send a line; return the reply, which may be a refusal."""
        self.protocol.transport.write((line.encode() if isinstance(line, str) else line) + b"\r\n")
        answer: Deferred[bytes] = Deferred()
        self._asked.append(answer)
        return answer.addCallback(bytes.decode)

    async def ask(self, line: str | bytes) -> str:
        """Send a line, and return what follows `+OK`.

        :raises Refused: when the reply is `-ERR`.
        """
        answer = await self.send(line)
        if answer.startswith("-ERR "):
            raise Refused(answer.split()[1])
        return answer.removeprefix("+OK ")

    def line(self, line: bytes) -> None:
        """Called with each line, without its LF."""
        if line.startswith(b"INFO ") and not self.greeting:
            self.greeting = json.loads(line.removeprefix(b"INFO "))
        elif line.startswith(_ANSWERS) and line.endswith(b"\r") and (self._asked or line.startswith(b"-ERR ")):
            if self._asked:
                self._asked.popleft().callback(line.rstrip(b"\r"))
            else:
                self.deliver_result(ErrorLine(line.split()[1].decode()))
        else:
            self.news(line)

    def news(self, line: bytes) -> None:
        """Called with each line that is not a reply."""
        assert line.endswith(b"\r"), line
        line = line.removesuffix(b"\r")
        if line.startswith(b"{"):
            self.take(json.loads(line))
        elif item := _read(line):
            self.deliver_result(item)
        else:
            self.extra.append(line)


class TextLines(LineClient):
    """The text format."""

    label = "tcp-text"
    format = "text"
    has_events = False


class JsonLines(LineClient):
    """The JSON format."""

    label = "tcp-json"
    format = "json"


class RawLines(LineClient):
    """The raw format: one line of data per message."""

    label = "tcp-raw"
    format = "raw"
    has_ids = has_channels = has_events = reports_gaps = False

    def news(self, line: bytes) -> None:
        """See `LineClient`."""
        self.deliver_result(Received(None, None, line, None))


def _read(line: bytes) -> Item | None:
    verb, *words = line.split(b" ", 3)
    names = [word.decode() for word in words[:2]]
    match verb:
        case b"MSG":
            return Received(None if names[1] == "-" else names[1], names[0], _ESCAPE.sub(_meant, words[2]), None)
        case b"GAP":
            end, reason = words[2].decode().split(" ")
            return Gap(names[0], names[1], end, reason)
        case b"END":
            return End(names[0])
    return None


def _meant(found: re.Match[bytes]) -> bytes:
    return _MEANT[found[1]] if found[1] else bytes.fromhex(found[2].decode())
