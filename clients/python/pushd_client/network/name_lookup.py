"""Looks host names up within a deadline."""

import socket
import threading
from typing import Any


class NameLookup:
    """One lookup, in a thread of its own: `getaddrinfo` has no timeout, and cannot be interrupted.

    A lookup that is late is abandoned: its thread ends when the resolver of the system does, and does not keep the
    process running. An IP address needs no thread.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._done = threading.Event()
        self._addresses: list[Any] = []
        self._error: OSError | UnicodeError | None = None

    def addresses(self, seconds: float) -> list[Any]:
        """Return what `socket.getaddrinfo` returns; an empty list after `cancel`.

        :raises OSError: when the host is not known; `TimeoutError` when that takes longer.
        """
        try:
            return self._look_up(socket.AI_NUMERICHOST)
        except socket.gaierror:
            pass  # it is a name
        threading.Thread(target=self._run, name="pushd-client-lookup", daemon=True).start()
        if not self._done.wait(seconds):
            raise TimeoutError(f"looking up {self._target[0]} timed out")
        if self._error is not None:
            raise self._error
        return self._addresses

    def cancel(self) -> None:
        """End the wait; any thread may call it."""
        self._done.set()

    def _run(self) -> None:
        try:
            self._addresses = self._look_up()
        except (OSError, UnicodeError) as error:
            self._error = error
        self._done.set()

    def _look_up(self, flags: int = 0) -> list[Any]:
        return socket.getaddrinfo(*self._target, type=socket.SOCK_STREAM, flags=flags)
