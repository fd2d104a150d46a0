"""The file of revocations of the memory backend: one JSON object per line, appended and synced."""

import json
import os
from collections.abc import Callable, Iterable
from errno import ENOSPC
from io import FileIO
from pathlib import Path
from typing import Final

import msgspec
from twisted.internet.defer import DeferredLock
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from pushd.backends.interface import BackendUnusable
from pushd.core.errors import StorageFailed
from pushd.core.revocations import Revocation, Revocations

_decode = msgspec.json.Decoder(Revocation).decode
_MIN_REWRITTEN: Final = 1 << 20
"""Below this size in bytes the file is never rewritten."""
_NOT_WRITTEN = "the file of revocations cannot be written now"


class RevocationsFile:
    """Revocations on disk. All lines of a key count together. What has expired or was repeated is removed when the file
    is opened, and when it has doubled.

    :param known: returns the revocations of the daemon, to which the file is rewritten.
    """

    log = Logger()

    def __init__(self, path: Path, known: Callable[[], Iterable[Revocation]]) -> None:
        self._path = path
        self._known = known
        self._file: FileIO | None = None
        self._lock = DeferredLock()
        self._size = 0
        """The bytes of the complete lines."""
        self._rewrite_at = _MIN_REWRITTEN
        """The size at which the file is rewritten."""

    def open(self, now: float) -> list[Revocation]:
        """Open the file, and return what it contains. If there is none, it is created.

        :param now: unix seconds.
        :raises BackendUnusable: when it cannot be read or written; the text is a sentence.
        """
        known = Revocations()
        try:
            known.add(self._read(), now)
            self._rewrite(list(known))
        except OSError as error:
            raise BackendUnusable(f"auth.revocations_file: {self._path}: {error.strerror or error}") from error
        return list(known)

    async def append(self, revocation: Revocation) -> None:
        """Append a revocation, and wait until it is on the disk.

        :raises StorageFailed: when it cannot be written.
        """
        await self._lock.acquire()
        try:
            if self._size >= self._rewrite_at:
                await deferToThread(self._rewrite, list(self._known()))
            await deferToThread(self._append, _line(revocation))
        except (OSError, ValueError) as error:
            self.log.error("{path} cannot be written: {error}", path=str(self._path), error=str(error))
            raise StorageFailed(_NOT_WRITTEN) from error
        finally:
            self._lock.release()

    async def close(self) -> None:
        """Close the file, after what is being written."""
        await self._lock.acquire()
        if self._file is not None:
            self._file.close()
        self._lock.release()

    def _read(self) -> Iterable[Revocation]:
        """Return the revocations. A line that is no revocation, such as one that a crash cut, is logged and skipped."""
        content = self._path.read_bytes() if self._path.exists() else b""
        for number, line in enumerate(content.splitlines(), 1):
            try:
                yield _decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                self.log.warn("{path}: line {number} is no revocation: skipped", path=str(self._path), number=number)

    def _rewrite(self, known: Iterable[Revocation]) -> None:
        """Replace the file by one that has only what is known, atomically."""
        fresh = self._path.with_name(f"{self._path.name}.new")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(b"".join(map(_line, known)))
            file.flush()
            os.fsync(file.fileno())
            self._size = file.tell()
        os.replace(fresh, self._path)
        before, self._file = self._file, self._path.open("ab", buffering=0)
        if before is not None:
            before.close()
        self._rewrite_at = max(_MIN_REWRITTEN, 2 * self._size)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _append(self, line: bytes) -> None:
        """Append a line. Called in a thread."""
        if self._file is None:
            raise ValueError("file is not open")
        # What a write that failed has left is no part of the next line.
        self._file.truncate(self._size)
        if self._file.write(line) != len(line):
            raise OSError(ENOSPC, os.strerror(ENOSPC))
        os.fsync(self._file.fileno())
        self._size += len(line)


def _line(revocation: Revocation) -> bytes:
    return json.dumps(revocation).encode("ascii") + b"\n"
