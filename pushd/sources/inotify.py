"""The kernel's word that something stirs in a folder (inotify, Linux only).

It says only that it is time to look. What has changed is found by comparing (`tree.py`): so it does not matter that
the kernel forgets events when they are too many, nor under which old name a folder that was moved still speaks.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from twisted.internet import inotify
from twisted.python.filepath import FilePath

_SELF_GONE = inotify.IN_DELETE_SELF | inotify.IN_UNMOUNT
# Not those of reading and opening: a look at the folder would cause the next.
_MASK = inotify.IN_WATCH_MASK | inotify.IN_CLOSE_WRITE | inotify.IN_ONLYDIR


class Notifier:
    """Calls `wake` when something stirs in one of the folders that it follows, and then says no more until `listen`:
    what happens meanwhile waits in the kernel, so a folder in which much happens costs little here.

    :raises OSError: there are as many of its kind as the kernel allows.
    """

    def __init__(self, reactor: Any, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._followed: dict[str, int] = {}
        try:
            self._reader = _Reader(reactor)
        except inotify.INotifyError as error:
            raise OSError(str(error)) from error
        self.listen()

    def listen(self) -> None:
        """Speak again."""
        self._reader.startReading()

    def follow(self, folders: Mapping[str, int]) -> Iterator[str]:
        """Follow these folders, given as paths with their inodes, and no others; give each new one once it is followed.

        It takes about a tenth of a millisecond for each, so the caller may want to give way in between.

        :raises OSError: they are more than the kernel allows.
        """
        for path, inode in list(self._followed.items()):
            if folders.get(path) != inode:
                self._ignore(path)
        for path in [path for path in folders if path not in self._followed]:
            self._ignore(path)
            self._watch(path)
            self._followed[path] = folders[path]
            yield path

    def close(self) -> None:
        """Follow nothing more."""
        self._reader.close()

    def _watch(self, path: str) -> None:
        folder = FilePath(path)
        try:
            self._reader.watch(folder, _MASK, callbacks=[self._stirred])
        except inotify.INotifyError as error:
            if folder.isdir():  # else it is gone already, of which its parent speaks
                raise OSError(f"the kernel does not follow {path}: {error}") from error

    def _ignore(self, path: str) -> None:
        self._followed.pop(path, None)
        with suppress(KeyError):  # forgotten already, since it was deleted
            self._reader.ignore(FilePath(path))

    def _stirred(self, _watch: object, path: "FilePath[bytes]", events: int) -> None:
        if events & _SELF_GONE:  # a new folder of this name may get the same inode
            self._followed.pop(path.asTextMode().path, None)
        self._reader.stopReading()
        self._wake()


class _Reader(inotify.INotify):
    """Twisted's, which closes itself when any one of the folders that it follows is deleted. This one goes on."""

    def loseConnection(self) -> None:
        """Go on."""

    def close(self) -> None:
        """Close."""
        super().loseConnection()
