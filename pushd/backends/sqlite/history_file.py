"""Opening a history: checks, migration, and recovery after the last run."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import NamedTuple

from pushd.backends.epoch import new_epoch
from pushd.backends.interface import BackendUnusable
from pushd.backends.sqlite.directory import Directory
from pushd.backends.sqlite.errors import Damaged, corruption_as_damaged, reason_for
from pushd.backends.sqlite.file_recovery import copy_damaged, install_rebuilt, recover_file
from pushd.backends.sqlite.schema import check_tables, migrate, version_of
from pushd.backends.sqlite.verification import verify
from pushd.backends.sqlite.writer import Writer
from pushd.core.history import Bounds

_VERIFY_SECONDS = 0.25
"""Time a start spends on verifying the file: an eighth of its budget."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MAY_BE_MISSING = (
    "The machine restarted after a run with sync = normal: the newest messages may be missing; starting a new epoch, "
    "returning subscribers receive a gap"
)


class OpenedHistory(NamedTuple):
    """A history that was opened."""

    writer: Writer
    warnings: list[str]
    """Warnings for the operator."""
    is_verified: bool
    """Whether all of the file was verified."""
    unavailable_reason: str | None
    """Why nothing can be written now; None when it can."""


def open_history(directory: Directory, bounds: Bounds, sync: str, wall: float) -> OpenedHistory:
    """Open the history of an acquired directory; create it if there is none.

    :param sync: ``full`` or ``normal``.
    :param wall: unix seconds.
    :raises BackendUnusable: when it cannot be used.
    """
    warnings: list[str] = []
    reason = None
    with errors_as_unusable(directory):
        install_rebuilt(directory)
        try:
            writer, is_verified = _open_verified(directory, bounds, sync, wall)
        except Damaged as damage:
            if damage.copy is None:
                raise
            warnings.append(f"{directory.file} is damaged: {damage}")
            warnings.append(recover_file(directory, damage.copy, new_epoch()))
            writer, is_verified = _open_verified(directory, bounds, sync, wall)
        directory.verify_marker.unlink(missing_ok=True)
        try:
            if _begin_run(writer.db, sync):
                warnings.append(_MAY_BE_MISSING)
                writer = Writer(writer.db, bounds)
        except sqlite3.OperationalError as error:
            reason = reason_for(error)
    return OpenedHistory(writer, warnings, is_verified, reason)


def reopen_history(directory: Directory, bounds: Bounds, sync: str) -> Writer:
    """Reopen the file that this process had open.

    :raises sqlite3.Error, Damaged, BackendUnusable: when it cannot be opened now.
    """
    db = directory.write(sync, create=False)
    try:
        _begin_run(db, sync)
        return Writer(db, bounds)
    except BaseException:
        db.close()
        raise


def close_history(writer: Writer) -> None:
    """Checkpoint and close the file, so that the next start keeps the epoch even after a crash of the machine."""
    writer.db.execute("UPDATE log SET at_risk = 0 WHERE at_risk")
    writer.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    writer.db.close()


@contextmanager
def errors_as_unusable(directory: Directory) -> Iterator[None]:
    """Turn any error into `BackendUnusable` with a text that begins with the name of the file."""
    try:
        yield
    except Damaged as damage:
        raise BackendUnusable(f"{directory.file} is damaged: {damage}") from damage
    except BackendUnusable as fault:
        raise BackendUnusable(f"{directory.file} {fault}") from fault
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
            reason = "is not a SQLite file, or its header is damaged; move it away to start with an empty history"
            raise BackendUnusable(f"{directory.file} {reason}") from error
        raise BackendUnusable(f"{directory.file} cannot be used: {error}") from error
    except OSError as error:
        raise BackendUnusable(f"{error.filename or directory.path} cannot be used: {error.strerror}") from error


def _open_verified(directory: Directory, bounds: Bounds, sync: str, wall: float) -> tuple[Writer, bool]:
    """Open the file; also return whether all of it was verified.

    :raises Damaged: when it is damaged; a copy was put aside.
    """
    db = None
    try:
        with corruption_as_damaged():
            db = directory.write(sync)
            version = version_of(db)
            check_tables(db, version)
            is_verified = version == 0 or verify(db, inf if directory.verify_marker.exists() else _VERIFY_SECONDS)
            migrate(db, new_epoch(), wall)
            return Writer(db, bounds), is_verified
    except BaseException as error:
        if isinstance(error, Damaged):
            # Before the file is closed, for that would change it.
            error.copy = copy_damaged(directory)
        if db is not None:
            db.close()
        raise


def _begin_run(db: sqlite3.Connection, sync: str) -> bool:
    """Record how this run writes; return whether the last run may have lost messages, so that the epoch is new.

    Without a sync at each commit the death of the process takes nothing, but that of the machine may, and then
    sequences would be assigned again that some subscribers have already received.
    """
    boot = _BOOT_ID.read_text(encoding="ascii").strip() if _BOOT_ID.exists() else ""
    last_boot, was_at_risk = db.execute("SELECT boot, at_risk FROM log").fetchone()
    is_at_risk = sync == "normal"
    if was_at_risk and last_boot != boot:
        db.execute("UPDATE log SET epoch = ?, boot = ?, at_risk = ?", (new_epoch(), boot, is_at_risk))
        return True
    if (last_boot, was_at_risk) != (boot, is_at_risk) and (is_at_risk or was_at_risk):
        db.execute("UPDATE log SET boot = ?, at_risk = ?", (boot, is_at_risk))
    return False
