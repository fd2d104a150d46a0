"""Where the audit log is written: a file that only its owner can read, or standard output."""

import os
import stat
from io import FileIO
from typing import Final, Protocol

STDOUT: Final = "-"
"""The name of standard output."""
_STDOUT_FILE: Final = 1
_MODE: Final = 0o600
# O_NONBLOCK: a pipe that nobody reads must not block the daemon. It has no effect on a regular file.
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


class AuditOutput(Protocol):
    """Where lines are written."""

    def write(self, line: bytes) -> None:
        """Write a line, which has its end.

        :raises OSError: when it cannot be written, or only a part of it.
        """

    def reopen(self) -> None:
        """Open the file anew, since another program may have renamed it.

        :raises OSError: when it cannot be opened; the previous one stays in use.
        """

    def close(self) -> None:
        """Close it."""


class AuditFile:
    """A file to which every line is appended, wherever its end is by then.

    Only its owner can read and write it; an existing file of this user gets that mode, too.

    :param name: its path, or `STDOUT`.
    :raises OSError: when it cannot be opened.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_torn = False
        """Whether the last line has no end."""
        self._file = _open(name)

    def write(self, line: bytes) -> None:
        """See `AuditOutput`. A line that was written in part is ended before the next."""
        data = b"\n" + line if self._is_torn else line
        written = self._file.write(data) or 0  # None: it would block
        if written < len(data):
            self._is_torn = self._is_torn or written > 0
            raise OSError(f"{written} of {len(data)} bytes were written")
        self._is_torn = False

    def reopen(self) -> None:
        """See `AuditOutput`."""
        before, self._file = self._file, _open(self._name)
        self._is_torn = False
        before.close()

    def close(self) -> None:
        """See `AuditOutput`."""
        self._file.close()


def _open(name: str) -> FileIO:
    if name == STDOUT:
        return FileIO(os.dup(_STDOUT_FILE), "a")
    file = FileIO(os.open(name, _FLAGS, _MODE), "a")
    try:
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
            os.fchmod(file.fileno(), _MODE)
    except OSError:
        file.close()
        raise
    return file
