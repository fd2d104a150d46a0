"""Snapshots of a folder, and their comparison. Reads the disk, so calls may block."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple


class TooManyFiles(Exception):
    """The folder has more entries than the limit."""


class FileStamp(NamedTuple):
    """What identifies a version of a file. The inode changes when an editor replaces the file by a new one."""

    modified: int
    """Modification time in nanoseconds since 1970."""
    size: int
    """Size in bytes."""
    inode: int


@dataclass(frozen=True, slots=True)
class FolderTree:
    """A snapshot of a folder, by relative paths. Links are not followed; everything but a folder counts as a file."""

    files: Mapping[str, FileStamp]
    folders: Mapping[str, int]
    """Inodes of the folders that were read; the path of the root is empty."""


class FileChange(NamedTuple):
    """A difference between two snapshots."""

    path: str
    change: str
    """``created``, ``changed`` or ``deleted``."""
    stamp: FileStamp | None
    """None if the file was deleted."""


def read_tree(root: str, recursive: bool, limit: int) -> FolderTree:
    """Return a snapshot of a folder, with its subfolders if `recursive`; unreadable subfolders are omitted.

    :raises OSError: when the folder cannot be read, or an entry cannot be read for a reason that may be temporary.
    :raises TooManyFiles: when there are more than `limit` files and folders.
    """
    files: dict[str, FileStamp] = {}
    folders = {"": os.stat(root).st_ino}
    pending = [""]
    while pending:
        folder = pending.pop()
        for entry in _entries(root, folder, folders):
            path = f"{folder}/{entry.name}" if folder else entry.name
            if not entry.is_dir(follow_symlinks=False):
                _add_file(files, path, entry)
            elif recursive:
                folders[path] = entry.inode()
                pending.append(path)
            if len(files) + len(folders) > limit:
                raise TooManyFiles(f"more than {limit} files and folders")
    return FolderTree(files, folders)


def compare(before: Mapping[str, FileStamp], after: Mapping[str, FileStamp]) -> list[FileChange]:
    """Return the differences, sorted by path."""
    changes = [FileChange(path, "deleted", None) for path in before.keys() - after.keys()]
    changes += (
        FileChange(path, "changed" if path in before else "created", stamp)
        for path, stamp in after.items()
        if before.get(path) != stamp
    )
    return sorted(changes)


def _entries(root: str, folder: str, folders: dict[str, int]) -> Iterable["os.DirEntry[str]"]:
    """Return the entries of a folder. A subfolder that was deleted or is unreadable is removed from `folders`."""
    try:
        with os.scandir(os.path.join(root, folder)) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        if not folder:
            raise
        del folders[folder]
        return ()


def _add_file(files: dict[str, FileStamp], path: str, entry: "os.DirEntry[str]") -> None:
    try:
        stat = entry.stat(follow_symlinks=False)
    except (FileNotFoundError, PermissionError):  # deleted meanwhile, or unreadable
        return
    files[path] = FileStamp(stat.st_mtime_ns, stat.st_size, stat.st_ino)
