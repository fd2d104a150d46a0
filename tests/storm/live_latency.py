"""The latency of live deliveries during a storm, measured by a publisher and subscribers in a process of their own."""

import multiprocessing
import re
import select
import socket
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

from tests.daemon.clients import HANDSHAKE, SECONDS
from tests.soak.transports import Ports

_CHANNEL = b"storm/live"
_SUBSCRIBERS = 4
"""Subscribers over each transport."""
_PAUSE = 0.005
_STAMP = re.compile(rb"at=([0-9]+)\.")
_READ = 1 << 16
_TIMEOUT = 60.0


class LatencyProbe:
    """A publisher and some subscribers. A context manager, in which they are connected."""

    def __init__(self, ports: Ports) -> None:
        context = multiprocessing.get_context("fork")
        self._connection, child_connection = context.Pipe()
        self._process = context.Process(target=_measure, args=(ports, child_connection), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        self._connection.recv()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.join(SECONDS)

    def delays(self) -> list[float]:
        """Return the sorted delays of all deliveries since the last call, in seconds from the publisher's `send`.

        There is at least one publish.
        """
        self._connection.send(None)
        assert self._connection.poll(_TIMEOUT), "the live subscribers did not receive everything"
        delays: list[float] = self._connection.recv()
        return delays


def p99(delays: Sequence[float]) -> float:
    """Return the 99th percentile of sorted delays."""
    return delays[len(delays) * 99 // 100]


class _Subscriber:
    """A subscriber that parses only the timestamps, which look the same in every format."""

    def __init__(self, port: int, request: bytes, reply: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(request)
        self._rest = b""
        while reply not in self._rest:
            self._rest += self.socket.recv(_READ)

    def fileno(self) -> int:
        return self.socket.fileno()

    def stamps(self) -> list[int]:
        """Read the available bytes, and return the timestamps in them."""
        pieces = _STAMP.split(self._rest + self.socket.recv(_READ))
        self._rest = pieces[-1]
        return [int(stamp) for stamp in pieces[1::2]]


def _subscribers(ports: Ports) -> Iterator[_Subscriber]:
    upgrade = b"".join(b"%b: %b\r\n" % (name.encode(), value.encode()) for name, value in HANDSHAKE.items())
    for transport, headers in ((b"sse", b""), (b"stream", b""), (b"mixed", b""), (b"ws", upgrade)):
        request = b"GET /%b/%b HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (transport, _CHANNEL, headers)
        yield _Subscriber(ports.http, request, b"\r\n\r\n")
    yield _Subscriber(ports.tcp, b"SUB %b\r\n" % _CHANNEL, b"+OK")


def _measure(ports: Ports, parent: Connection) -> None:
    """Publish at a fixed rate without waiting for replies, and record the delay of each delivery."""
    subscribers = {each.fileno(): each for _ in range(_SUBSCRIBERS) for each in _subscribers(ports)}
    publisher = _Subscriber(ports.tcp, b"", b"INFO")
    poll, delays, due = select.poll(), list[float](), 0
    for readable in (*subscribers, publisher.fileno(), parent.fileno()):
        poll.register(readable, select.POLLIN)
    parent.send(None)
    is_requested, next_time = False, time.monotonic()
    while True:
        # If this process was stopped since the last answer, nothing has been published yet.
        if not (is_requested and due) and time.monotonic() >= next_time:
            publisher.socket.send(b"PUB %b at=%d.\r\n" % (_CHANNEL, time.monotonic_ns()))
            due += len(subscribers)
            next_time += _PAUSE
        wait = 1.0 if is_requested and due else next_time - time.monotonic()
        for descriptor, _ in poll.poll(max(0.0, wait * 1000)):
            if descriptor in subscribers:
                delays += [(time.monotonic_ns() - stamp) / 1e9 for stamp in subscribers[descriptor].stamps()]
            elif descriptor == publisher.fileno():
                publisher.socket.recv(_READ)
            else:
                parent.recv()
                is_requested = True
        if is_requested and due and len(delays) >= due:
            parent.send(sorted(delays))
            delays.clear()
            is_requested, due, next_time = False, 0, time.monotonic()
