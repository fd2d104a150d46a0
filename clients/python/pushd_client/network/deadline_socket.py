"""A blocking socket with a deadline for all that is done until the next one is set."""

import contextlib
import io
import select
import socket
import ssl
import time
from typing import Any

from .name_lookup import NameLookup


class DeadlineSocket:
    """A socket for `http.client`: it has the methods that an `HTTPConnection` calls.

    A timeout of Python's sockets applies to each operation, so a peer that sends a byte now and then is never too slow.
    Here the whole of an answer must arrive before the deadline. Another thread may call `shut_down`.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._deadline = time.monotonic() + 30.0
        self._socket: socket.socket | None = None
        self._lookup: NameLookup | None = None
        self._is_shut_down = False
        self._readers = 0
        self._is_closed = False
        self.is_connected = False
        """Whether it was ever connected, so that something may have been sent."""

    def set_seconds(self, seconds: float) -> None:
        """Set the deadline, from now on."""
        self._deadline = time.monotonic() + seconds

    def connect(self, context: ssl.SSLContext | None) -> None:
        """Connect, and perform the handshake of TLS with a context.

        :raises OSError: when that fails.
        """
        connected = self.connect_plain()
        if context is not None:
            self._socket = secured = context.wrap_socket(
                connected, server_hostname=self._target[0], do_handshake_on_connect=False
            )
            try:
                self._ready()
                secured.do_handshake()
            except BaseException:
                self._discard()
                raise
        self.is_connected = True

    def connect_plain(self) -> socket.socket:
        """Connect to the first address of the host that accepts; return the socket.

        :raises OSError: when none does.
        """
        last: OSError | None = None
        for family, kind, protocol, _, address in self._look_up():
            try:
                self._connect(socket.socket(family, kind, protocol), address)
                break
            except OSError as error:
                last = error
                self._discard()
        if last is not None and self._socket is None:
            raise last
        return self._ready()

    def _look_up(self) -> list[Any]:
        self._lookup = lookup = NameLookup(*self._target)  # so that it can be cancelled
        if self._is_shut_down:
            lookup.cancel()
        return lookup.addresses(self._remaining())

    def _connect(self, connecting: socket.socket, address: Any) -> None:
        self._socket = connecting  # so that it can be shut down
        connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connecting.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._ready().connect(address)

    def _discard(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def sendall(self, data: bytes) -> None:
        """Send, before the deadline."""
        self._ready().sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return a reader, which keeps the socket open until it is closed itself."""
        self._readers += 1
        return io.BufferedReader(_Reader(self), 64 << 10)

    def recv_into(self, buffer: memoryview) -> int:
        """Receive, before the deadline."""
        return self._ready().recv_into(buffer)

    def is_quiet(self) -> bool:
        """Return whether nothing was received, not even the end: whether it may be used for another request."""
        if self._socket is None or self._socket.fileno() < 0:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def shut_down(self) -> None:
        """End all operations; any thread may call it."""
        self._is_shut_down = True
        if self._lookup is not None:
            self._lookup.cancel()
        self._shut_down()

    def close(self) -> None:
        """Close the socket, once all readers are closed."""
        self._is_closed = True
        self._close_if_unused()

    def reader_closed(self) -> None:
        """Take back what `makefile` gave."""
        self._readers -= 1
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._is_closed and self._readers <= 0 and self._socket is not None:
            self._socket.close()

    def _shut_down(self) -> None:
        if self._socket is not None:
            # Below TLS, too: its own shutdown would lose the keys that the other thread uses.
            with contextlib.suppress(OSError):  # not connected any more
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _ready(self) -> socket.socket:
        if self._socket is None or self._is_shut_down:
            raise ConnectionAbortedError("the connection was closed")
        self._socket.settimeout(self._remaining())
        return self._socket

    def _remaining(self) -> float:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("timed out")
        return remaining


class _Reader(io.RawIOBase):
    """The receiving side, as a raw file."""

    def __init__(self, owner: DeadlineSocket) -> None:
        self._owner = owner

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        return self._owner.recv_into(buffer)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._owner.reader_closed()
