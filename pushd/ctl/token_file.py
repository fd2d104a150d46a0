"""The file of static tokens, edited: comments and the other entries stay as they are."""

import fcntl
import json
import os
import re
import stat
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pushd.ctl.errors import CtlError

Tables = dict[str, dict[str, Any]]
_NEW_FILE_MODE = 0o600
_OTHERS = 0o007
"""The permissions of users other than the owner and the group, which are always removed."""


def read_tables(file: Path) -> Tables:
    """Return the tables of a file by name.

    :raises CtlError: when it cannot be read.
    """
    return _parse(file, _read(file))


def add_table(file: Path, name: str, entries: Mapping[str, str | Sequence[str]]) -> None:
    """Append a table to a file, which is made if it does not exist.

    :raises CtlError: when there is one of this name, or the file cannot be written.
    """
    rows = "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in entries.items())

    def append(text: str, tables: Tables) -> str:
        if name in tables:
            raise CtlError(f"{file}: token {name} exists already; remove it first")
        tables[name] = dict(entries)
        separator = "" if not text else "\n" if text.endswith("\n") else "\n\n"
        return f"{text}{separator}[{name}]\n{rows}"

    _edit(file, append)


def remove_table(file: Path, name: str) -> None:
    """Remove a table, and the comments within it, from a file.

    :raises CtlError: when there is none of this name, or the file cannot be written.
    """
    read_tables(file)

    def remove(text: str, tables: Tables) -> str:
        if name not in tables:
            raise CtlError(f"{file}: there is no token {name}")
        del tables[name]
        return _without_table(text, name)

    _edit(file, remove)


def _edit(file: Path, change: Callable[[str, Tables], str]) -> None:
    """Replace the text of a file by a changed one.

    :param change: takes the text and its tables; changes the tables and returns the new text for them.
    """
    target = Path(os.path.realpath(file))
    try:
        with _lock(target.parent):
            text = _read(target) if target.exists() else ""
            tables = _parse(target, text)
            changed = change(text, tables)
            if _parse(target, changed) != tables:
                raise CtlError(
                    f"{file}: the entry is written in a form that pushctl cannot edit; edit the file by hand"
                )
            _replace(target, changed)
    except OSError as error:
        raise CtlError(f"{file}: {error.strerror or error}") from error


def _without_table(text: str, name: str) -> str:
    """Return a text without a table and its subtables. Comments directly above another table belong to that."""
    own = re.compile(rf"""\s*\[\s*(?:{re.escape(name)}|"{re.escape(name)}"|'{re.escape(name)}')\s*[\].]""")
    kept: list[str] = []
    skipped: list[str] = []
    is_within = False
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("["):
            if is_within:
                kept += _comments_at_end(skipped)
            is_within, skipped = own.match(line) is not None, []
        (skipped if is_within else kept).append(line)
    return "".join(kept)


def _comments_at_end(lines: Sequence[str]) -> Sequence[str]:
    """Return the last lines that are comments."""
    start = len(lines)
    while start and lines[start - 1].lstrip().startswith("#"):
        start -= 1
    return lines[start:]


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8")
    except OSError as error:
        raise CtlError(f"{file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise CtlError(f"{file}: not UTF-8 at byte {error.start}") from error


def _parse(file: Path, text: str) -> Tables:
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CtlError(f"{file}: not TOML: {error}") from error
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise CtlError(f"{file}: {name} must be the table of a token, written [{name}]")
    return tables


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Exclude other edits in a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(file: Path, text: str) -> None:
    """Replace a file at once. It keeps its owner and its mode, without the permissions of others."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as output:
            output.write(text.encode("utf-8"))
            output.flush()
            _copy_permissions(file, descriptor)
            os.fsync(descriptor)
        os.replace(temporary, file)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _copy_permissions(file: Path, descriptor: int) -> None:
    mode = _NEW_FILE_MODE
    with suppress(FileNotFoundError):
        status = file.stat()
        mode = stat.S_IMODE(status.st_mode) & ~_OTHERS
        own = os.fstat(descriptor)
        if (own.st_uid, own.st_gid) != (status.st_uid, status.st_gid):
            os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, mode)
