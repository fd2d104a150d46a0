"""Change notifications of the kernel for folders (inotify, Linux only).

An event only triggers a scan; the changes are found by comparing snapshots (`tree.py`). So it does not matter that the
kernel drops events when its queue is full, or that a moved folder reports events under its old name.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from twisted.internet import inotify
from twisted.python.filepath import FilePath

_FOLDER_GONE = inotify.IN_DELETE_SELF | inotify.IN_UNMOUNT
# Without the events of reading and opening, as a scan would trigger the next one.
_MASK = inotify.IN_WATCH_MASK | inotify.IN_CLOSE_WRITE | inotify.IN_ONLYDIR


class InotifyNotifier:
    """Calls `on_change` once when something changes in a watched folder, then pauses until `resume`.

    Events are not read while it is paused, so a busy folder costs little.

    :raises OSError: when the kernel's limit of inotify instances is reached.
    """

    def __init__(self, reactor: Any, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._watched: dict[str, int] = {}
        try:
            self._reader = _Reader(reactor)
        except inotify.INotifyError as error:
            raise OSError(str(error)) from error
        self.resume()

    def resume(self) -> None:
        """Report the next change."""
        self._reader.startReading()

    def watch_folders(self, folders: Mapping[str, int]) -> Iterator[str]:
        """Watch exactly these folders (paths with their inodes); yield each new path once it is watched.

        Each takes about 0.1 ms, so the caller can yield to the reactor in between.

        :raises OSError: when the kernel's limit of watches is reached.
        """
        for path, inode in list(self._watched.items()):
            if folders.get(path) != inode:
                self._unwatch(path)
        for path in [path for path in folders if path not in self._watched]:
            self._unwatch(path)
            self._watch(path)
            self._watched[path] = folders[path]
            yield path

    def close(self) -> None:
        """Stop watching."""
        self._reader.close()

    def _watch(self, path: str) -> None:
        folder = FilePath(path)
        try:
            self._reader.watch(folder, _MASK, callbacks=[self._event_received])
        except inotify.INotifyError as error:
            if folder.isdir():  # else it was deleted, which its parent reports
                raise OSError(f"cannot watch {path}: {error}") from error

    def _unwatch(self, path: str) -> None:
        self._watched.pop(path, None)
        with suppress(KeyError):  # already removed, because the folder was deleted
            self._reader.ignore(FilePath(path))

    def _event_received(self, _watch: object, path: "FilePath[bytes]", events: int) -> None:
        if events & _FOLDER_GONE:  # a new folder of this name may have the same inode
            self._watched.pop(path.asTextMode().path, None)
        self._reader.stopReading()
        self._on_change()


class _Reader(inotify.INotify):
    """Twisted's reader, except that it stays open when a watched folder is deleted."""

    def loseConnection(self) -> None:
        """Ignore the request: Twisted calls this when a watched folder is deleted."""

    def close(self) -> None:
        """Close the inotify descriptor."""
        super().loseConnection()
