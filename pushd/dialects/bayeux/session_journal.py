"""The file of the sessions of a daemon with a history on disk: one line for each change, of which the last counts.

It survives the end of the process by any signal. It is not synced: after a power cut it may be older, or damaged in
part.
"""

import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator
from twisted.logger import Logger

_MIN_REWRITTEN: Final = 1 << 20
"""Below this size in bytes the file is not rewritten."""
_GONE: Final = b"-"
_PAUSE_SECONDS: Final = 0.01
"""Seconds between the steps of a rewrite."""


class SessionJournal:
    """States by key, in a file that is rewritten when it has doubled."""

    log = Logger()

    def __init__(self, path: Path, clock: IReactorTime) -> None:
        self._path = path
        self._cooperator = Cooperator(scheduler=lambda step: clock.callLater(_PAUSE_SECONDS, step))
        self._file: FileIO | None = None
        self._rewritten: FileIO | None = None
        """The file that replaces the other one when it is complete; lines are appended to both."""
        self._size = self._rewritten_size = 0
        self._rewrite_at = _MIN_REWRITTEN

    @property
    def needs_rewrite(self) -> bool:
        """Whether the file has grown so much that it should be rewritten."""
        return self._size >= self._rewrite_at and self._rewritten is None

    def open(self) -> dict[str, bytes]:
        """Open the file, and return the states that it has; without a file, or with one that cannot be read, none."""
        try:
            states = self._read()
            self._begin_rewrite()
            for key, state in states.items():
                self._add(line_of(key, state))
            self._finish_rewrite()
        except OSError as error:
            self._stop_writing(error)
            return {}
        return states

    def append(self, key: str, state: bytes | None) -> None:
        """Record the state of a key; None removes it.

        :param state: JSON.
        """
        if self._file is not None:
            line = line_of(key, _GONE if state is None else state)
            try:
                _write(self._file, line)
                self._size += len(line)
                if self._rewritten is not None:
                    self._add(line)
            except OSError as error:
                self._stop_writing(error)

    def rewrite(self, lines: Iterator[bytes]) -> None:
        """Replace the content in later reactor turns, unless that is going on.

        :param lines: the lines of all states, each made when it is asked for.
        """
        if self._file is not None and self._rewritten is None:
            try:
                self._begin_rewrite()
            except OSError as error:
                self._stop_writing(error)
                return
            self._cooperator.cooperate(self._rewrite(lines)).whenDone().addErrback(lambda failure: None)

    def close(self) -> None:
        """Close the file. What is appended later is ignored."""
        self._cooperator.stop()
        self._close_files()

    def _close_files(self) -> None:
        for file in (self._file, self._rewritten):
            if file is not None:
                file.close()
        self._file = self._rewritten = None

    def _rewrite(self, lines: Iterator[bytes]) -> Iterator[None]:
        try:
            for line in lines:
                if self._rewritten is None:  # appending has failed meanwhile
                    return
                self._add(line)
                yield
            self._finish_rewrite()
        except OSError as error:
            self._stop_writing(error)

    def _begin_rewrite(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        self._rewritten = FileIO(os.open(self._new_path, flags, 0o600), "wb")
        self._rewritten_size = 0

    def _add(self, line: bytes) -> None:
        assert self._rewritten is not None
        _write(self._rewritten, line)
        self._rewritten_size += len(line)

    def _finish_rewrite(self) -> None:
        self._new_path.replace(self._path)
        if self._file is not None:
            self._file.close()
        self._file, self._rewritten = self._rewritten, None
        self._size = self._rewritten_size
        self._rewrite_at = max(_MIN_REWRITTEN, 2 * self._size)

    @property
    def _new_path(self) -> Path:
        return self._path.with_name(f"{self._path.name}.new")

    def _read(self) -> dict[str, bytes]:
        states: dict[str, bytes] = {}
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return states
        for line in content.splitlines(keepends=True):
            key, _, state = line.partition(b" ")
            if state == _GONE + b"\n":
                states.pop(key.decode("latin-1"), None)
            elif state.endswith(b"}\n"):  # else its end was not written
                states[key.decode("latin-1")] = state[:-1]
        return states

    def _stop_writing(self, error: OSError) -> None:
        """Stop after an error: sessions are in memory only."""
        self.log.warn(
            "Bayeux sessions are not kept over a restart: {file}: {why}",
            file=str(self._path),
            why=error.strerror or str(error),
        )
        self._close_files()


def line_of(key: str, state: bytes) -> bytes:
    """Return the line of a state."""
    return b"%b %b\n" % (key.encode("ascii"), state)


def _write(file: FileIO, line: bytes) -> None:
    """Append a line.

    :raises OSError: when not all of it can be written.
    """
    if file.write(line) != len(line):
        raise OSError("the disk is full")
