"""Those who are subscribed all the while, in a process of their own: how long a message takes to each of them."""

import multiprocessing
import re
import select
import socket
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

from tests.doors.clients import HANDSHAKE, SECONDS
from tests.soak.transports import Ports

_CHANNEL = b"storm/live"
_EACH = 4
"""Subscribers by each way."""
_PAUSE = 0.005
_STAMP = re.compile(rb"at=([0-9]+)\.")
_READ = 1 << 16
_PATIENCE = 60.0


class Live:
    """A publisher and some subscribers; a context, in which they are there."""

    def __init__(self, ports: Ports) -> None:
        context = multiprocessing.get_context("fork")
        self._mine, its = context.Pipe()
        self._process = context.Process(target=_live, args=(ports, its), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        self._mine.recv()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.join(SECONDS)

    def delays(self) -> list[float]:
        """Give the seconds that each delivery since the last call took, from the publisher's `send` on, sorted."""
        self._mine.send(None)
        assert self._mine.poll(_PATIENCE), "those who listen all the while did not hear all"
        delays: list[float] = self._mine.recv()
        return delays


def slowest(delays: Sequence[float]) -> float:
    """Give what 99 of 100 are below, of delays that are sorted."""
    return delays[len(delays) * 99 // 100]


class _Ear:
    """A subscriber. What comes is looked at for stamps only, which stand as they are in each format."""

    def __init__(self, port: int, ask: bytes, answer: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(ask)
        self._rest = b""
        while answer not in self._rest:
            self._rest += self.socket.recv(_READ)

    def fileno(self) -> int:
        return self.socket.fileno()

    def stamps(self) -> list[int]:
        """Read what is there; give the stamps of what it heard."""
        pieces = _STAMP.split(self._rest + self.socket.recv(_READ))
        self._rest = pieces[-1]
        return [int(stamp) for stamp in pieces[1::2]]


def _ears(ports: Ports) -> Iterator[_Ear]:
    upgrade = b"".join(b"%b: %b\r\n" % (name.encode(), value.encode()) for name, value in HANDSHAKE.items())
    for way, headers in ((b"sse", b""), (b"stream", b""), (b"mixed", b""), (b"ws", upgrade)):
        yield _Ear(ports.http, b"GET /%b/%b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (way, _CHANNEL, headers), b"\r\n\r\n")
    yield _Ear(ports.tcp, b"SUB %b\r\n" % _CHANNEL, b"+OK")


def _live(ports: Ports, parent: Connection) -> None:
    """Publish at a steady pace, whatever the answers, and hear."""
    ears = {ear.fileno(): ear for _ in range(_EACH) for ear in _ears(ports)}
    publisher = _Ear(ports.tcp, b"", b"INFO")
    poll, delays, due = select.poll(), list[float](), 0
    for readable in (*ears, publisher, parent):
        poll.register(readable, select.POLLIN)
    parent.send(None)
    is_asked, next_time = False, time.monotonic()
    while True:
        if not is_asked and time.monotonic() >= next_time:
            publisher.socket.send(b"PUB %b at=%d.\r\n" % (_CHANNEL, time.monotonic_ns()))
            due += len(ears)
            next_time += _PAUSE
        wait = 1.0 if is_asked else next_time - time.monotonic()
        for descriptor, _ in poll.poll(max(0.0, wait * 1000)):
            if descriptor in ears:
                delays += [(time.monotonic_ns() - stamp) / 1e9 for stamp in ears[descriptor].stamps()]
            elif descriptor == publisher.fileno():
                publisher.socket.recv(_READ)
            else:
                parent.recv()
                is_asked = True
        if is_asked and len(delays) >= due:
            parent.send(sorted(delays))
            delays.clear()
            is_asked, due, next_time = False, 0, time.monotonic()
