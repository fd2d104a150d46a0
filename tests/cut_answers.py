"""A proxy that cuts one answer of a server after a given number of bytes."""

import contextlib
import selectors
import socket
import threading
from dataclasses import dataclass
from typing import Any

_PIECE = 1 << 16


@dataclass
class _Cut:
    """A cut that is due, or done."""

    left: int
    """The bytes of the server until then."""
    is_done: bool = False


class AnswerCutter:
    """Listens on a free port of 127.0.0.1, and passes everything on to another one, up to the cut.

    :param port: the port of the server.
    :param is_old: whether requests are sent on as HTTP/1.0, as some proxies do: then streams end with the connection,
        and nothing but their contents shows that they were cut.
    """

    def __init__(self, port: int, *, is_old: bool = False) -> None:
        self._target = port
        self._is_old = is_old
        self._cut: _Cut | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._wake_up, self._wakes = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wakes, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut_after(self, size: int) -> None:
        """Pass on so many bytes of the server from now on, then close the connection instead of the next one, once."""
        self._cut = _Cut(size)

    def has_cut(self) -> bool:
        """Return whether that has happened; it does not happen any more."""
        cut, self._cut = self._cut, None
        return cut is not None and cut.is_done

    def close(self) -> None:
        """Close all connections."""
        self._wake_up.close()
        self._thread.join(10)

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._wakes:
                    self._stop()
                    return
                if key.fileobj in (each.fileobj for each in self._selector.get_map().values()):  # not closed meanwhile
                    key.data()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection(("127.0.0.1", self._target))
        for side in (client, server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(client, selectors.EVENT_READ, lambda: self._request(client, server))
        self._selector.register(server, selectors.EVENT_READ, lambda: self._answer(client, server))

    def _request(self, client: socket.socket, server: socket.socket) -> None:
        data = _receive(client)
        if self._is_old:
            data = data.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n")
        if not data or not _send(server, data):
            self._close(client, server)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        data, cut = _receive(server), self._cut
        if cut is not None and not cut.is_done:
            cut.is_done = len(data) > cut.left
            if cut.is_done:
                _send(client, data[: cut.left])
                data = b""
            cut.left -= len(data)
        if not data or not _send(client, data):
            self._close(client, server)

    def _close(self, *sides: socket.socket) -> None:
        for side in sides:
            self._selector.unregister(side)
            side.close()

    def _stop(self) -> None:
        for key in list(self._selector.get_map().values()):
            side: Any = key.fileobj
            side.close()
        self._selector.close()


def _receive(side: socket.socket) -> bytes:
    """Return what was received; nothing at the end, orderly or not."""
    with contextlib.suppress(OSError):
        return side.recv(_PIECE)
    return b""


def _send(side: socket.socket, data: bytes) -> bool:
    """Send; return whether the connection still exists."""
    with contextlib.suppress(OSError):
        side.sendall(data)
        return True
    return False
