"""A crowd: very many plain connections of one process, which come at once, ask the same, and go at once."""

import contextlib
import os
import select
import socket
import struct
import time
from collections.abc import Sequence
from itertools import cycle
from types import TracebackType
from typing import Self

_ADDRESSES = 200
"""Of this machine to come from: the ports of a single one are used up by three crowds a minute."""
_READ = 1 << 18
_CHOOSE_PORT_LATER = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)  # Linux; Python names it since 3.12
_RESET = struct.pack("ii", 1, 0)
"""For SO_LINGER: close by a reset."""


class Crowd:
    """So many connections to some ports in turn; a context, at the end of which they are closed.

    :param ask: what each sends once it is connected.
    """

    def __init__(self, ports: Sequence[int], size: int, ask: bytes = b"") -> None:
        self.heard: dict[int, bytearray] = {}
        """What came, by descriptor."""
        self._ask = ask
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._outside: set[int] = set()
        """Who is not connected yet."""
        for number, port in zip(range(size), cycle(ports), strict=False):
            self._come(f"127.0.0.{2 + number % _ADDRESSES}", port)

    def _come(self, source: str, port: int) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, _CHOOSE_PORT_LATER, 1)
        sock.bind((source, 0))
        with contextlib.suppress(BlockingIOError):
            sock.connect(("127.0.0.1", port))
        descriptor = sock.fileno()
        self._sockets[descriptor] = sock
        self.heard[descriptor] = bytearray()
        self._outside.add(descriptor)
        self._poll.register(descriptor, select.EPOLLOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._poll.close()
        for sock in self._sockets.values():
            sock.close()

    def __len__(self) -> int:
        return len(self._sockets)

    def be_let_in(self, seconds: float) -> None:
        """Wait until all are connected and have asked."""
        deadline = time.monotonic() + seconds
        while self._outside:
            self._turn(deadline, f"{len(self._outside)} of {len(self)} are not connected")

    def hear(self, last: bytes, seconds: float) -> None:
        """Wait until what each has heard ends with `last`."""
        deadline = time.monotonic() + seconds
        deaf = {one for one, heard in self.heard.items() if not heard.endswith(last)}
        while deaf:
            came = self._turn(deadline, f"{len(deaf)} of {len(self)} have not heard all")
            deaf -= {one for one in came if self.heard[one].endswith(last)}

    def count_answered(self) -> int:
        """Tell how many have an answer by now."""
        return len(self._poll.poll(0, len(self)))

    def break_off(self) -> None:
        """Let each connection end by a reset."""
        for sock in self._sockets.values():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def _turn(self, deadline: float, otherwise: str) -> list[int]:
        """Do what can be done now; give those that heard something."""
        left = deadline - time.monotonic()
        assert left > 0, otherwise
        return [one for one, _ in self._poll.poll(left) if self._serve(one)]

    def _serve(self, one: int) -> bool:
        sock = self._sockets[one]
        if one in self._outside:
            assert not (error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)), os.strerror(error)
            self._outside.discard(one)
            sock.send(self._ask)
            self._poll.modify(one, select.EPOLLIN)
            return False
        try:
            data = sock.recv(_READ)
        except ConnectionResetError:
            data = b""
        if not data:
            self._poll.unregister(one)
        self.heard[one] += data
        return True
