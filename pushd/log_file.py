"""The log file: other programs may truncate or rename it."""

import fcntl
import os

from twisted.python.logfile import LogFile


class SharedLogFile(LogFile):
    """A log file to which every write is appended, wherever its end is by then."""

    def _openFile(self) -> None:
        super()._openFile()  # type: ignore[no-untyped-call]
        flags = fcntl.fcntl(self._file, fcntl.F_GETFL)
        fcntl.fcntl(self._file, fcntl.F_SETFL, flags | os.O_APPEND)

    def write(self, data: str | bytes) -> None:
        """Append data. What UTF-8 cannot encode is escaped."""
        super().write(data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data)  # type: ignore[no-untyped-call]

    def rotate_or_reopen(self) -> None:
        """Rotate the file, or open a new one if another program has renamed or removed it."""
        try:
            is_in_place = os.path.samestat(os.stat(self.path), os.fstat(self._file.fileno()))
        except OSError:
            is_in_place = False
        if is_in_place:
            self.rotate()  # type: ignore[no-untyped-call]
        else:
            self.reopen()  # type: ignore[no-untyped-call]
