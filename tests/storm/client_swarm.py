"""A swarm of clients in one process, which connect, send a request and disconnect at the same time."""

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

_SOURCE_ADDRESSES = 200
"""Loopback addresses to connect from: three swarms a minute exhaust the ephemeral ports of a single one."""
_READ = 1 << 18
_IP_BIND_ADDRESS_NO_PORT = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)  # Linux; Python names it since 3.12
_RESET = struct.pack("ii", 1, 0)
"""The value of SO_LINGER with which closing sends a reset."""


class ClientSwarm:
    """Connections to some ports in turn. A context manager, which closes them at the end.

    :param requests: sent by each client once it is connected: the same by all, or one for each.
    """

    def __init__(self, ports: Sequence[int], size: int, requests: bytes | Sequence[bytes] = b"") -> None:
        self.received: dict[int, bytearray] = {}
        """The bytes received, by file descriptor."""
        self._requests: dict[int, bytes] = {}
        """What is to be sent, by file descriptor."""
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._connecting: set[int] = set()
        """File descriptors that are not connected yet."""
        each = [requests] if isinstance(requests, bytes) else requests
        for number, port, request in zip(range(size), cycle(ports), cycle(each), strict=False):
            self._connect(f"127.0.0.{2 + number % _SOURCE_ADDRESSES}", port, request)

    def _connect(self, source: str, port: int, request: bytes) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((source, 0))
        with contextlib.suppress(BlockingIOError):
            sock.connect(("127.0.0.1", port))
        descriptor = sock.fileno()
        self._sockets[descriptor] = sock
        self.received[descriptor] = bytearray()
        self._requests[descriptor] = request
        self._connecting.add(descriptor)
        self._poll.register(descriptor, select.EPOLLOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._poll.close()
        for sock in self._sockets.values():
            sock.close()

    def __len__(self) -> int:
        return len(self._sockets)

    def wait_connected(self, seconds: float) -> None:
        """Wait until all clients are connected and have sent their request."""
        deadline = time.monotonic() + seconds
        while self._connecting:
            self._poll_once(deadline, f"{len(self._connecting)} of {len(self)} are not connected")

    def wait_received(self, end: bytes, seconds: float) -> None:
        """Wait until the bytes that each client has received end with `end`."""
        deadline = time.monotonic() + seconds
        waiting = {descriptor for descriptor, received in self.received.items() if not received.endswith(end)}
        while waiting:
            changed = self._poll_once(deadline, f"{len(waiting)} of {len(self)} have not received everything")
            waiting -= {descriptor for descriptor in changed if self.received[descriptor].endswith(end)}

    def count_readable(self) -> int:
        """Return the number of clients with unread bytes."""
        return len(self._poll.poll(0, len(self)))

    def reset_on_close(self) -> None:
        """Make all connections close with a TCP reset."""
        for sock in self._sockets.values():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def _poll_once(self, deadline: float, message: str) -> list[int]:
        """Poll once, and serve the clients that are ready. Return those that received bytes or were closed."""
        remaining = deadline - time.monotonic()
        assert remaining > 0, message
        return [descriptor for descriptor, _ in self._poll.poll(remaining) if self._serve(descriptor)]

    def _serve(self, descriptor: int) -> bool:
        sock = self._sockets[descriptor]
        if descriptor in self._connecting:
            assert not (error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)), os.strerror(error)
            self._connecting.discard(descriptor)
            sock.send(self._requests.pop(descriptor))
            self._poll.modify(descriptor, select.EPOLLIN)
            return False
        try:
            data = sock.recv(_READ)
        except ConnectionResetError:
            data = b""
        if not data:
            self._poll.unregister(descriptor)
        self.received[descriptor] += data
        return True
