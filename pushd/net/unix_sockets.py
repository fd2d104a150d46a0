"""Unix sockets that are taken over from a process that was killed.

A killed process leaves its socket file behind, to which no other process can bind. Twisted removes it if the process id
that it finds in the file beside it is not in use. But another process may have that id, and in a container it is always
the same. So the file beside it is locked with flock(2), which ends with the process, and the socket is asked whether
anybody answers.
"""

import errno
import fcntl
import os
import socket
import stat
from contextlib import suppress
from typing import Any

from twisted.internet.error import CannotListenError


class UnixSocketReactor:
    """A proxy of the reactor whose Unix sockets are locked by flock(2)."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenUNIX(self, address: str, factory: Any, backlog: int = 50, mode: int = 0o660, wantPID: int = 0) -> Any:
        """See `IReactorUNIX`. With `wantPID`, the socket is locked, and taken over if nobody answers."""
        if not wantPID or address.startswith("\0"):  # an abstract socket ends with its process
            return self._listen(address, factory, backlog, mode)
        lock = _Lock(address)
        try:
            _remove_abandoned(address)
            port = self._listen(address, factory, backlog, mode)
        except BaseException:
            lock.unlock()
            raise
        # The port unlocks it after it has removed the socket file.
        port.lockFile = lock
        return port

    def _listen(self, address: str, factory: Any, backlog: int, mode: int) -> Any:
        try:
            return self._reactor.listenUNIX(address, factory, backlog, mode)
        except OSError as error:  # the mode cannot be set
            raise CannotListenError(None, address, error) from error


class _Lock:
    """The lock on the file beside a socket, which stays when the lock is released.

    :raises CannotListenError: when another process holds it, or it cannot be created.
    """

    def __init__(self, address: str) -> None:
        try:
            self._file = _open(f"{address}.lock")
        except OSError as error:
            raise CannotListenError(None, address, error) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._file, 20).decode("ascii", "replace").strip()
            self.unlock()
            process = f" (process {holder})" if holder else ""
            raise _in_use(address, f"in use by another process{process}") from error
        with suppress(OSError):
            os.ftruncate(self._file, 0)
            os.write(self._file, b"%d\n" % os.getpid())

    def unlock(self) -> None:
        """Release the lock. The name is that of `twisted.python.lockfile`."""
        os.close(self._file)


def _open(path: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    os.unlink(path)  # a symbolic link to a process id, by which Twisted locks
    return os.open(path, flags, 0o600)


def _remove_abandoned(address: str) -> None:
    """Remove a socket file to which nobody listens.

    :raises CannotListenError: when somebody listens.
    """
    with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        if not stat.S_ISSOCK(os.stat(address).st_mode):
            return  # a mistake in the path: binding to it fails
        probe.setblocking(False)
        outcome = probe.connect_ex(address)
        if outcome == errno.ECONNREFUSED:
            os.unlink(address)
        elif outcome in (0, errno.EAGAIN):
            raise _in_use(address, "another process listens on it")


def _in_use(address: str, reason: str) -> CannotListenError:
    return CannotListenError(None, address, OSError(errno.EADDRINUSE, reason))
