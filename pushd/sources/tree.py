"""What lies in a folder, and what is different the next time. Reads the disk, so it may take long."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple


class TooManyFiles(Exception):
    """There is more in the folder than is to be watched."""


class FileStamp(NamedTuple):
    """By what a file is told from what it was before. The inode differs where an editor put a new file in its place."""

    modified: int
    """Nanoseconds since 1970."""
    size: int
    """Bytes."""
    inode: int


@dataclass(frozen=True, slots=True)
class FolderTree:
    """What lies in a folder, by paths relative to it. Links are not followed, and all that is no folder is a file."""

    files: Mapping[str, FileStamp]
    folders: Mapping[str, int]
    """Inodes of the folders that were read; the path of the outermost is empty."""


class FileChange(NamedTuple):
    """A file that is different."""

    path: str
    change: str
    """``created``, ``changed`` or ``deleted``."""
    stamp: FileStamp | None
    """None where it is gone."""


def read_tree(root: str, recursive: bool, most: int) -> FolderTree:
    """Read a folder, and those in it if `recursive`, but not those that may not be read.

    :raises OSError: it can not be read, or something in it can not for a reason that may pass.
    :raises TooManyFiles: there are more than `most` files and folders.
    """
    files: dict[str, FileStamp] = {}
    folders = {"": os.stat(root).st_ino}
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        for entry in _entries(root, folder, folders):
            path = f"{folder}/{entry.name}" if folder else entry.name
            if not entry.is_dir(follow_symlinks=False):
                _put(files, path, entry)
            elif recursive:
                folders[path] = entry.inode()
                waiting.append(path)
            if len(files) + len(folders) > most:
                raise TooManyFiles(f"there are more than {most} files and folders in it")
    return FolderTree(files, folders)


def compare(before: Mapping[str, FileStamp], after: Mapping[str, FileStamp]) -> list[FileChange]:
    """Tell what is different, sorted by path."""
    changes = [FileChange(path, "deleted", None) for path in before.keys() - after.keys()]
    changes += (
        FileChange(path, "changed" if path in before else "created", stamp)
        for path, stamp in after.items()
        if before.get(path) != stamp
    )
    return sorted(changes)


def _entries(root: str, folder: str, folders: dict[str, int]) -> Iterable["os.DirEntry[str]"]:
    """List a folder. One that is inside and vanished or is closed to us is as good as not there."""
    try:
        with os.scandir(os.path.join(root, folder)) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        if not folder:
            raise
        del folders[folder]
        return ()


def _put(files: dict[str, FileStamp], path: str, entry: "os.DirEntry[str]") -> None:
    try:
        found = entry.stat(follow_symlinks=False)
    except (FileNotFoundError, PermissionError):  # gone since the folder was listed, or closed to us
        return
    files[path] = FileStamp(found.st_mtime_ns, found.st_size, found.st_ino)
