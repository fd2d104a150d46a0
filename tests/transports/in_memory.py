"""An HTTP connection without a socket: bytes in, answers out, and a resource that records what it is asked."""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, Protocol

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from pushd.http.limits import HttpLimits
from pushd.http.request import Request
from pushd.http.site import PushSite
from pushd.metrics import Counters
from pushd.net.admission import Admission

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_HEAD = re.compile(rb"HTTP/1\.1 ([0-9]{3}) [^\r\n]*\r\n(.*?)\r\n\r\n", re.DOTALL)
_LENGTH = re.compile(rb"^Content-Length: ([0-9]+)\r?$", re.MULTILINE)


class Asked(NamedTuple):
    """A request as the resource sees it."""

    method: bytes
    path: bytes
    body: bytes


class Answered(NamedTuple):
    """An answer as the client sees it."""

    status: int
    head: bytes
    body: bytes


class Receiver(Protocol):
    """What a connection passes its bytes to."""

    def dataReceived(self, data: bytes) -> None:
        """Called with the bytes that have arrived."""


class Transport(StringTransport):
    """A transport that ignores, as sockets do, what is asked of it once it closes."""

    protocol: Receiver

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""
        if not self.disconnecting:
            super().pauseProducing()

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        if not self.disconnecting:
            super().resumeProducing()

    @property
    def is_reading(self) -> bool:
        """Whether the connection takes bytes."""
        return bool(self.producerState == "producing")


class Stream:
    """An answer that takes the connection over, and returns it with what it received when its body is sent."""

    def __init__(self, request: Request, body: bytes) -> None:
        request.setHeader(b"Content-Length", b"%d" % len(body))
        if request.closes_connection:
            request.setHeader(b"Connection", b"close")
        self._detached, head = request.detach(self)
        self._is_last = request.closes_connection
        self._received = self._detached.unread
        self._body = b"" if request.method == b"HEAD" else body
        self._detached.transport.write(head)

    def dataReceived(self, data: bytes) -> None:
        """Keep what is received."""
        self._received += data

    def end(self) -> None:
        """Send the body."""
        transport, slot, _, back = self._detached
        transport.write(self._body)
        if self._is_last:
            transport.loseConnection()
        else:
            back(transport, slot, self._received)


class Recorder(Resource):
    """Answers each request with its number, at once, or when `answer` is called.

    A request whose query is ``later`` waits for `answer`, one whose query is ``held`` is held like a long poll, and one
    whose query is ``stream`` takes the connection over until `answer` is called.
    """

    isLeaf = True

    def __init__(self, max_body: int) -> None:
        super().__init__()
        self.asked: list[Asked] = []
        self.gone = 0
        """Held requests whose client left."""
        self._max_body = max_body
        self._pending: list[Callable[[], None]] = []

    def max_body(self, request: Request) -> int:
        """See `RequestResource`."""
        return self._max_body

    def render(self, request: Request) -> Any:
        """See `Resource`."""
        number = len(self.asked)
        self.asked.append(Asked(request.method, request.path, request.body))
        if request.query in (b"later", b"held"):
            self._pending.append(lambda: request.answer(b"%d" % number))
            if request.query == b"held":
                request.hold(self._left, self.answer)
        elif request.query == b"stream":
            self._pending.append(Stream(request, b"%d" % number).end)
        else:
            request.answer(b"%d" % number)
        return NOT_DONE_YET

    @property
    def is_busy(self) -> bool:
        """Whether a request has no answer yet."""
        return bool(self._pending)

    def answer(self) -> None:
        """Answer the request that waits."""
        self._pending.pop()()

    def _left(self) -> None:
        self._pending.clear()
        self.gone += 1


class InMemory:
    """A connection with a `Recorder` behind it."""

    def __init__(self, limits: HttpLimits | None = None) -> None:
        limits = limits or HttpLimits()
        self.recorder = Recorder(limits.message)
        self.transport = Transport()
        site = PushSite(self.recorder, Clock(), limits, Admission(10, 10), Counters())
        self.connection = self.transport.protocol = site.buildProtocol(None)
        self.connection.makeConnection(self.transport)

    def send(self, segments: Iterable[bytes], *, is_eager: bool = True) -> None:
        """Receive segments as the connection reads them.

        :param is_eager: whether answers that wait are sent before the next segment arrives, and not at the last moment.
        """
        left = list(segments)
        while left or self.recorder.is_busy:
            if self.recorder.is_busy and (is_eager or not left or not self.transport.is_reading):
                self.recorder.answer()
            elif self.transport.is_reading or self.is_closed:
                self.transport.protocol.dataReceived(left.pop(0))
            else:
                raise AssertionError("nothing is read, and nothing waits for an answer")

    @property
    def asked(self) -> list[Asked]:
        """The requests that were processed."""
        return self.recorder.asked

    @property
    def is_closed(self) -> bool:
        """Whether the connection closes."""
        return bool(self.transport.disconnecting)

    @property
    def answers(self) -> list[Answered]:
        """What was answered so far, without ``100 Continue``."""
        answers: list[Answered] = []
        rest = self.transport.value().replace(CONTINUE, b"")
        while rest:
            head = _HEAD.match(rest)
            assert head, rest
            rest = rest[head.end() :]
            length = _LENGTH.search(head[2])
            is_head = len(answers) < len(self.asked) and self.asked[len(answers)].method == b"HEAD"
            size = int(length[1]) if length and not is_head else 0
            answers.append(Answered(int(head[1]), head[2], rest[:size]))
            rest = rest[size:]
        return answers

    @property
    def statuses(self) -> list[int]:
        """The statuses of the answers."""
        return [answer.status for answer in self.answers]
