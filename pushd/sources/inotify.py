"""The kernel's word that something stirs in a folder (inotify, Linux only).

It says only that it is time to look. What has changed is found by comparing (`tree.py`): so it does not matter that
the kernel forgets events when they are too many, nor under which old name a folder that was moved still speaks.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from twisted.internet import inotify
from twisted.python.filepath import FilePath

_FOLDER_GONE = inotify.IN_DELETE_SELF | inotify.IN_UNMOUNT
# Not those of reading and opening: a look at the folder would cause the next.
_MASK = inotify.IN_WATCH_MASK | inotify.IN_CLOSE_WRITE | inotify.IN_ONLYDIR


class InotifyNotifier:
    """Calls `wake` when something stirs in one of the folders that it follows, and then says no more until `listen`:
    what happens meanwhile waits in the kernel, so a folder in which much happens costs little here.

    :raises OSError: there are as many of its kind as the kernel allows.
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
        """Speak again."""
        self._reader.startReading()

    def watch_folders(self, folders: Mapping[str, int]) -> Iterator[str]:
        """Follow these folders, given as paths with their inodes, and no others; give each new one once it is followed.

        It takes about a tenth of a millisecond for each, so the caller may want to give way in between.

        :raises OSError: they are more than the kernel allows.
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
        """Follow nothing more."""
        self._reader.close()

    def _watch(self, path: str) -> None:
        folder = FilePath(path)
        try:
            self._reader.watch(folder, _MASK, callbacks=[self._event_received])
        except inotify.INotifyError as error:
            if folder.isdir():  # else it is gone already, of which its parent speaks
                raise OSError(f"the kernel does not follow {path}: {error}") from error

    def _unwatch(self, path: str) -> None:
        self._watched.pop(path, None)
        with suppress(KeyError):  # forgotten already, since it was deleted
            self._reader.ignore(FilePath(path))

    def _event_received(self, _watch: object, path: "FilePath[bytes]", events: int) -> None:
        if events & _FOLDER_GONE:  # a new folder of this name may get the same inode
            self._watched.pop(path.asTextMode().path, None)
        self._reader.stopReading()
        self._on_change()


class _Reader(inotify.INotify):
    """Twisted's, which closes itself when any one of the folders that it follows is deleted. This one goes on."""

    def loseConnection(self) -> None:
        """Go on."""

    def close(self) -> None:
        """Close."""
        super().loseConnection()
