"""Load on a running daemon: subscribers on sockets of their own, a publisher, and each delivery checked and timed.

What is published carries its number and its moment, so that it is found in what comes whatever the technique frames it
with.
"""

import resource
import secrets
import selectors
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from pushd.ctl.api_client import Web, in_path
from pushd.ctl.bench_client import READ, Ear, encode
from pushd.ctl.errors import Failure, NotReachable
from pushd.ctl.latency import Latencies

_OPEN_SECONDS, _LAST_SECONDS = 30.0, 10.0
"""For a subscription to be answered; for what was published last to arrive."""
_OTHER_FILES = 50
_TURN_SECONDS = 0.05
_AHEAD = 1000
"""Publishes that may wait for their answers."""
_HANDSHAKE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: cHVzaGN0bCBpcyBoZXJlIQ==\r\n"
)
_PING, _PONG = b"\x89\x00", b"\x8a\x80\x00\x00\x00\x00"
"""An empty ping of a server and the answer to it (RFC 6455, section 5.5)."""
TECHNIQUES = ("sse", "stream", "mixed", "websocket", "tcp")


class Plan(NamedTuple):
    """What is to be done."""

    technique: str = "sse"
    subscribers: int = 100
    channels: int = 1
    rate: float = 100.0
    """Messages a second."""
    seconds: float = 10.0
    size: int = 100
    """Bytes of a message."""

    @property
    def messages(self) -> int:
        """How many are published in all."""
        return max(1, round(self.rate * self.seconds))


@dataclass
class Outcome:
    """What came of it."""

    published: int = 0
    expected: int = 0
    """Deliveries, if all arrive."""
    delivered: int = 0
    repeated: int = 0
    """Came twice, or behind a later one."""
    cut: int = 0
    """Connections that were closed."""
    seconds: float = 0.0
    """From the first publish to the last, or to the last delivery."""
    busy: float = 0.0
    """Which part of that time this program itself was at work."""
    latencies: Latencies = field(default_factory=Latencies)

    @property
    def lost(self) -> int:
        """Deliveries that did not arrive."""
        return self.expected - self.delivered

    def facts(self) -> dict[str, float]:
        """Give all but the latencies, by name."""
        names = ("published", "expected", "delivered", "lost", "repeated", "cut", "seconds", "busy")
        return {name: getattr(self, name) for name in names}

    def lines(self, plan: Plan) -> Iterator[str]:
        """Give all but the latencies in words."""
        rate = self.delivered / self.seconds if self.seconds else 0.0
        yield f"published  {self.published:,} messages of {plan.size} bytes in {self.seconds:.1f} s"
        yield f"delivered  {self.delivered:,} of {self.expected:,}, {rate:,.0f} a second"
        yield f"     lost  {self.lost:,}, repeated {self.repeated:,}"
        yield f"      cut  {self.cut:,} of {plan.subscribers:,} connections by {plan.technique}"

    @property
    def is_good(self) -> bool:
        """Whether each message arrived everywhere, once and in order."""
        return not (self.lost or self.repeated)


class Load:
    """One run.

    :param tcp: of the line listener.
    :param progress: is called now and then: with what is done, how much of it, and of how much.
    """

    def __init__(
        self, web: Web, tcp: tuple[str, int], plan: Plan, progress: Callable[[str, float, float], None]
    ) -> None:
        self._web = web
        self._tcp = tcp
        self._plan = plan
        self._progress = progress
        self._run = secrets.token_hex(4)
        self._channels = [f"bench/{self._run}/{number}" for number in range(plan.channels)]
        self._selector = selectors.DefaultSelector()
        self._ears: list[Ear] = []
        self._publisher: socket.socket | None = None
        self._answers = 0
        self._last_words = b""
        self._outcome = Outcome()
        self._last = 0.0
        """When something was delivered last."""

    def run(self) -> Outcome:
        """Do it, and leave nothing behind.

        :raises Failure: it can not be begun, or the publisher is refused.
        """
        try:
            self._open()
            self._publish()
        except OSError as error:
            raise Failure(f"a connection broke: {error.strerror or error}") from error
        finally:
            for ear in self._ears:
                ear.socket.close()
            if self._publisher is not None:
                self._publisher.close()
            self._selector.close()
            for channel in self._channels:
                with suppress(Failure):
                    self._web.ask("DELETE", f"/pub/{in_path(channel)}")
        return self._outcome

    def _open(self) -> None:
        plan = self._plan
        for number in range(plan.subscribers):
            ear = Ear(self._connect(), number % plan.channels)
            self._ears.append(ear)
            ear.socket.sendall(self._subscription(self._channels[number % plan.channels]))
            ear.socket.setblocking(False)
            self._selector.register(ear.socket, selectors.EVENT_READ, ear)
            self._progress("subscribing", number + 1, plan.subscribers)
            self._turn(0)
        deadline = time.monotonic() + _OPEN_SECONDS
        while not all(ear.is_open for ear in self._ears):
            if time.monotonic() > deadline:
                raise Failure(f"{sum(not ear.is_open for ear in self._ears)} subscriptions were not answered")
            self._turn(_TURN_SECONDS)
        self._publisher = self._connect()
        self._publisher.setblocking(False)
        self._selector.register(self._publisher, selectors.EVENT_READ)

    def _publish(self) -> None:
        plan, outcome = self._plan, self._outcome
        begin, cpu = time.monotonic(), time.process_time()
        self._last = begin
        waiting = b""
        while outcome.published < plan.messages or waiting:
            passed = time.monotonic() - begin
            due = min(plan.messages, int(passed * plan.rate) + 1, self._answers + _AHEAD)
            if outcome.published < due:
                waiting += b"".join([self._publication(number) for number in range(outcome.published, due)])
                outcome.published = due
            waiting = self._send(waiting)
            self._progress("publishing", outcome.published, plan.messages)
            is_held_up = waiting or outcome.published == self._answers + _AHEAD
            self._turn(_TURN_SECONDS if is_held_up else self._pause(begin))
        outcome.expected = sum(len(range(ear.first, outcome.published, plan.channels)) for ear in self._ears)
        published = time.monotonic()
        self._wait_for_the_last()
        outcome.seconds = max(self._last, published) - begin
        outcome.busy = (time.process_time() - cpu) / outcome.seconds

    def _wait_for_the_last(self) -> None:
        """Hear on until all is there, or nothing has come for a while."""
        outcome = self._outcome
        while outcome.delivered < outcome.expected and time.monotonic() < self._last + _LAST_SECONDS:
            self._progress("waiting for the last", outcome.delivered, outcome.expected)
            self._turn(_TURN_SECONDS)

    def _pause(self, begin: float) -> float:
        """Give the seconds until the next message is due."""
        return min(_TURN_SECONDS, max(0.0, begin + self._outcome.published / self._plan.rate - time.monotonic()))

    def _turn(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                self._hear_answers()
            else:
                self._hear(key.data)

    def _hear(self, ear: Ear) -> None:
        data, plan = ear.read(), self._plan
        if data is None:
            self._selector.unregister(ear.socket)
            if not ear.is_open:
                raise Failure("a subscription was refused: the connection was closed")
            self._outcome.cut += 1
            return
        if not ear.is_open:
            ear.is_open = self._is_answered(data)
            if not ear.is_open:
                ear.rest = data
                return
        if plan.technique == "websocket" and _PING in data:
            ear.socket.send(_PONG)
        now = time.monotonic_ns()
        for number, moment in ear.marks(data):
            self._delivered(ear, number, (now - moment) / 1e9)

    def _delivered(self, ear: Ear, number: int, seconds: float) -> None:
        outcome = self._outcome
        if number < ear.next:
            outcome.repeated += 1
            return
        ear.next = number + self._plan.channels
        self._last = time.monotonic()
        outcome.delivered += 1
        outcome.latencies.add(seconds)

    def _is_answered(self, data: bytes) -> bool:
        if self._plan.technique == "tcp":
            return b"+OK SUB" in data or self._refused(data, b"-ERR")
        is_yes = data.startswith((b"HTTP/1.1 200", b"HTTP/1.1 101"))
        return b"\r\n\r\n" in data and (is_yes or self._refused(data, b"HTTP"))

    def _refused(self, data: bytes, mark: bytes) -> bool:
        if mark in data:
            raise Failure(f"a subscription was refused: {data[data.index(mark) :].splitlines()[0].decode('latin-1')}")
        return False

    def _hear_answers(self) -> None:
        assert self._publisher is not None
        try:
            data = self._publisher.recv(READ)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        if not data:
            raise Failure("the connection of the publisher was closed")
        *lines, self._last_words = (self._last_words + data).split(b"\n")
        for line in lines:
            if line.startswith((b"+OK ", b"HTTP/1.1 20")):
                self._answers += 1
            elif line.startswith((b"-ERR", b"HTTP/1.1 ")):
                raise Failure(f"a publish was refused: {line.decode('latin-1')}")

    def _send(self, data: bytes) -> bytes:
        """Send what can be sent, and give the rest."""
        assert self._publisher is not None
        if not data:
            return data
        try:
            return data[self._publisher.send(data) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            return data
        except OSError as error:
            raise Failure(f"the connection of the publisher broke: {error.strerror or error}") from error

    def _connect(self) -> socket.socket:
        if self._plan.technique != "tcp":
            return self._web.connect()
        try:
            return socket.create_connection(self._tcp, _OPEN_SECONDS)
        except OSError as error:
            host, port = self._tcp
            raise NotReachable(f"{host}:{port} can not be reached: {error.strerror or error}") from error

    def _subscription(self, channel: str) -> bytes:
        technique = self._plan.technique
        if technique == "tcp":
            return f"FORMAT raw\r\nSUB {channel}\r\n".encode()
        is_socket = technique == "websocket"
        return self._web.head("GET", f"/{'ws' if is_socket else technique}/{channel}", _HANDSHAKE if is_socket else "")

    def _publication(self, number: int) -> bytes:
        channel = self._channels[number % self._plan.channels]
        mark = encode(self._run, number, time.monotonic_ns()).ljust(self._plan.size, b".")
        if self._plan.technique == "tcp":
            return b"PUB %b %b\r\n" % (channel.encode(), mark)
        lines = f"Content-Type: text/plain\r\nContent-Length: {len(mark)}\r\n"
        return self._web.head("POST", f"/pub/{channel}", lines) + mark


def afford(connections: int) -> None:
    """Raise the limit of open files as far as so many connections need.

    :raises Failure: it can not be raised that far.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise Failure(f"{hard} files may be open here, so that at most {hard - _OTHER_FILES} can subscribe")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
