"""The commit mark: a small file beside the history that records the newest commit that was acknowledged.

The history alone cannot show that its newest commits are missing: without its write-ahead log, or as an older copy, it
is a valid file that ends earlier. Its next ids would then be those of messages that subscribers have received. A start
that finds the history older than the mark begins a new epoch.
"""

import os
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import NamedTuple

_WIDTH = 96
"""Bytes of the file: always overwritten as a whole, in place."""


class Position(NamedTuple):
    """A position in the log."""

    epoch: str
    seq: float
    """The newest sequence."""
    now: float
    """The log time of the commit, in seconds."""


class CommitMark:
    """The file of the mark. Its errors are ignored: it detects a fault of the history, and must not cause another.

    :param path: its path; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._written: Position | None = None

    def read(self) -> Position | None:
        """Return the recorded position; None if there is none."""
        with suppress(OSError, ValueError):
            epoch, seq, now = self._path.read_text(encoding="ascii").split()
            return Position(epoch, float(seq), float(now))
        return None

    def write(self, position: Position) -> None:
        """Record a commit, before it is acknowledged. It survives the death of the process."""
        if position != self._written:
            self._written = position
            text = f"{position.epoch} {position.seq} {position.now!r}"
            with suppress(OSError):
                if self._file is None:
                    self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
                os.pwrite(self._file, f"{text:<{_WIDTH - 1}}\n".encode("ascii"), 0)

    def expire(self) -> None:
        """Record that the history is incomplete: the next start begins a new epoch."""
        written = self._written
        self.close()  # another file may be at the path
        if written is not None:
            self.write(Position(written.epoch, inf, inf))

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
        self._file = self._written = None
