"""The lifecycle of a history file: open it with checks, migration and recovery; reopen it; close it."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import NamedTuple

from pushd.backends.epoch import new_epoch
from pushd.backends.interface import BackendUnusable
from pushd.backends.sqlite.commit_mark import Position
from pushd.backends.sqlite.directory import Directory
from pushd.backends.sqlite.errors import Damaged, corruption_as_damaged, reason_for
from pushd.backends.sqlite.file_recovery import copy_damaged, install_rebuilt, recover_file
from pushd.backends.sqlite.schema import check_tables, migrate, version_of
from pushd.backends.sqlite.verification import verify
from pushd.backends.sqlite.writer import Writer
from pushd.core.channel_rules import Retentions

_VERIFY_SECONDS = 0.25
"""Seconds that a start spends on verifying the file."""
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""A file with an id that differs after each boot of the machine."""
_AFTER_CRASH = "The machine restarted after a run with sync = normal: the newest messages may be missing"
_IS_OLDER = (
    "{file} ends before the newest acknowledged message: the file or its write-ahead log was removed, truncated or "
    "replaced by a copy"
)
_IS_EMPTY = "{file} is empty, though an earlier run acknowledged messages"
_NEW_EPOCH = "{reason}; starting a new epoch, returning subscribers receive a gap"


class OpenedHistory(NamedTuple):
    """The result of opening a history."""

    writer: Writer
    warnings: list[str]
    """Warnings for the operator."""
    is_verified: bool
    """Whether the whole file was verified."""
    unavailable_reason: str | None
    """Why the file cannot be written now; None when it can."""


def open_history(directory: Directory, retentions: Retentions, sync: str, wall: float) -> OpenedHistory:
    """Open the history of a directory that was acquired; create it if there is none.

    :param sync: ``full`` or ``normal``.
    :param wall: unix seconds.
    :raises BackendUnusable: when it cannot be used; the text is a sentence.
    """
    warnings: list[str] = []
    reason = None
    with errors_as_unusable(directory):
        install_rebuilt(directory)
        try:
            writer, is_verified = _open_verified(directory, retentions, sync, wall)
        except Damaged as damage:
            if damage.copy is None:
                raise
            warnings.append(f"{directory.file} is damaged: {damage}")
            warnings.append(recover_file(directory, damage.copy, new_epoch()))
            writer, is_verified = _open_verified(directory, retentions, sync, wall)
        directory.verify_marker.unlink(missing_ok=True)
        try:
            loss = _begin_run(directory, writer.db, sync)
            if loss is not None:
                warnings.append(_NEW_EPOCH.format(reason=loss))
                writer = Writer(writer.db, retentions)
        except sqlite3.OperationalError as error:
            reason = reason_for(error)
        directory.watch_files()
    return OpenedHistory(writer, warnings, is_verified, reason)


def reopen_history(directory: Directory, retentions: Retentions, sync: str) -> Writer:
    """Reopen the file after a failure to write it.

    :raises sqlite3.Error, Damaged, BackendUnusable: when it cannot be opened now.
    """
    directory.check_files()
    db = directory.open_writer(sync, create=False)
    try:
        _begin_run(directory, db, sync)
        writer = Writer(db, retentions)
        directory.watch_files()
        return writer
    except BaseException:
        db.close()
        raise


def close_history(writer: Writer) -> None:
    """Checkpoint and close the file. The next start then keeps the epoch, even after a crash of the machine."""
    writer.db.execute("UPDATE log SET at_risk = 0 WHERE at_risk")
    writer.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    writer.db.close()


@contextmanager
def errors_as_unusable(directory: Directory) -> Iterator[None]:
    """Turn any error into `BackendUnusable` with a text that begins with the path of the file."""
    try:
        yield
    except Damaged as damage:
        raise BackendUnusable(f"{directory.file} is damaged: {damage}") from damage
    except BackendUnusable as error:
        raise BackendUnusable(f"{directory.file} {error}") from error
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
            reason = "is not a SQLite file, or its header is damaged; move it away to start with an empty history"
            raise BackendUnusable(f"{directory.file} {reason}") from error
        raise BackendUnusable(f"{directory.file} cannot be used: {error}") from error
    except OSError as error:
        raise BackendUnusable(f"{error.filename or directory.path} cannot be used: {error.strerror}") from error


def _open_verified(directory: Directory, retentions: Retentions, sync: str, wall: float) -> tuple[Writer, bool]:
    """Open, verify and migrate the file; also return whether the whole file was verified.

    :raises Damaged: when it is damaged; it was copied.
    """
    db = None
    try:
        with corruption_as_damaged():
            db = directory.open_writer(sync)
            version = version_of(db)
            check_tables(db, version)
            is_verified = version == 0 or verify(db, inf if directory.verify_marker.exists() else _VERIFY_SECONDS)
            migrate(db, new_epoch(), wall)
            return Writer(db, retentions), is_verified
    except BaseException as error:
        if isinstance(error, Damaged):
            # Before the file is closed, which would change it.
            error.copy = copy_damaged(directory)
        if db is not None:
            db.close()
        raise


def _begin_run(directory: Directory, db: sqlite3.Connection, sync: str) -> str | None:
    """Start a new epoch if messages of the last run may be missing, and record whether a crash may lose those of this
    run.

    Sequences that subscribers have already received would otherwise be assigned again. Without a sync at each commit,
    messages survive the death of the process, but perhaps not a crash of the machine.

    :return: why the epoch is new; None if it is not.
    """
    boot = _BOOT_ID.read_text(encoding="ascii").strip() if _BOOT_ID.exists() else ""
    epoch, seq, now, last_boot, was_at_risk = db.execute("SELECT epoch, seq, now, boot, at_risk FROM log").fetchone()
    is_at_risk = sync == "normal"
    loss = missing_commits(directory, directory.mark.read(), Position(epoch, seq, now))
    if loss is None and was_at_risk and last_boot != boot:
        loss = _AFTER_CRASH
    if loss is not None:
        epoch = new_epoch()
        db.execute("UPDATE log SET epoch = ?, boot = ?, at_risk = ?", (epoch, boot, is_at_risk))
        db.execute("DELETE FROM url")
        db.execute("DELETE FROM member")
        db.execute("DELETE FROM idempotency_key")
    elif (last_boot, was_at_risk) != (boot, is_at_risk) and (is_at_risk or was_at_risk):
        db.execute("UPDATE log SET boot = ?, at_risk = ?", (boot, is_at_risk))
    directory.mark.write(Position(epoch, seq, now))
    return loss


def missing_commits(directory: Directory, marked: Position | None, position: Position) -> str | None:
    """Return a sentence if acknowledged commits are missing from a history that ends at a position; else None.

    :param marked: the position in the commit mark.
    """
    if marked is None:
        return None
    if marked.epoch == position.epoch:
        is_older = marked.seq > position.seq or marked.now > position.now
        return _IS_OLDER.format(file=directory.file) if is_older else None
    return _IS_EMPTY.format(file=directory.file) if marked.seq and not position.seq else None
