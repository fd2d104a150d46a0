"""A stream that speaks when it has to: what is created, changed and deleted in a folder, as JSON.

    {"path": "photos/cat.jpg", "change": "created", "size": 48213, "time": 1763751574.123}

The event type is the change. `size` in bytes and `time`, when the file was modified, are null where it is deleted.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from pushd.core.message import JSON
from pushd.sources.publisher import SourceMessage, SourcePublisher
from pushd.sources.tree import FileChange, FileStamp, FolderTree, TooManyFiles, compare, read_tree

_RESCAN_SECONDS = 60.0
"""A look of its own accord, for what the kernel does not tell: that a folder above was renamed, or mounted over."""
_FOLDERS_PER_SLICE = 100
"""New folders that are followed before the reactor has its turn: about 10 ms."""
_REST_FACTOR = 4
"""Times what a look took, in which there is no other: a large folder takes a fifth of a processor at most."""


class ChangeNotifier(Protocol):
    """What knows that something stirs in folders; see `pushd.sources.inotify.Notifier`."""

    def resume(self) -> None: ...

    def watch_folders(self, folders: Mapping[str, int]) -> Iterator[str]: ...

    def close(self) -> None: ...


class WatchRunner:
    """Looks at a folder when the kernel says that something stirs there, else at each interval, and publishes what is
    different from the last look. What is there at the first look is not told.

    A file that is created and gone again between two looks is never seen, so an editor that writes a new file and
    renames it over the old one has changed it. A change that is refused is found again by the next look.

    :param recursive: whether the folders in it count too.
    :param interval: seconds between two looks where the kernel is of no help, or the folder is not there.
    :param settle: seconds from the kernel's word to the look, in which changes gather.
    :param most: files and folders; where there are more, none is watched.
    :param notifier: makes what speaks for the kernel, or raises ImportError or OSError; None to do without.
    """

    log = Logger()

    def __init__(
        self,
        publisher: SourcePublisher,
        clock: IReactorTime,
        folder: str,
        recursive: bool,
        interval: float,
        settle: float,
        max_files: int,
        run_in_thread: Callable[[Callable[[], Any]], Deferred[Any]],
        notifier: Callable[[Callable[[], None]], ChangeNotifier] | None,
    ) -> None:
        self._publisher = publisher
        self._clock = clock
        self._folder = folder
        self._read: Callable[[], tuple[FolderTree, list[FileChange]]] = lambda: self._compare(
            read_tree(folder, recursive, max_files)
        )
        self._interval = interval
        self._settle = settle
        self._run_in_thread = run_in_thread
        self._make_notifier = notifier
        self._notifier: ChangeNotifier | None = None
        self._last_files: dict[str, FileStamp] | None = None
        self._problem = ""
        self._has_changed = False
        self._change: Deferred[None] | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        self._open_notifier()
        try:
            while True:
                start = self._clock.seconds()
                is_up_to_date = await self._scan()
                duration = self._clock.seconds() - start
                await self._wait_for_next_scan(is_up_to_date, _REST_FACTOR * duration)
        finally:
            self._close_notifier()

    async def _scan(self) -> bool:
        """Look, and publish; tell whether all that is known is true and told, so that the next look can wait."""
        self._has_changed = False
        if self._notifier is not None:
            self._notifier.resume()
        try:
            tree, changes = await self._run_in_thread(self._read)
        except (FileNotFoundError, NotADirectoryError):
            self._log_problem("is not there")
            tree, changes = self._compare(FolderTree({}, {}))
        except (OSError, TooManyFiles) as error:
            self._log_problem(f"can not be watched: {error}")
            return False
        else:
            self._log_problem("")
        await self._watch_folders(tree)
        if self._last_files is None:
            self._last_files = dict(tree.files)
        return await self._publish(changes, self._last_files) and bool(tree.folders)

    def _compare(self, tree: FolderTree) -> tuple[FolderTree, list[FileChange]]:
        """Compare with what is known. Called aside."""
        return tree, [] if self._last_files is None else compare(self._last_files, tree.files)

    async def _publish(self, changes: Sequence[FileChange], last_files: dict[str, FileStamp]) -> bool:
        accepted = await self._publisher.publish(map(_message, changes)) if changes else []
        for change, is_accepted in zip(changes, accepted, strict=True):
            if is_accepted:
                _apply(change, last_files)
        return all(accepted)

    async def _wait_for_next_scan(self, is_up_to_date: bool, rest: float) -> None:
        if self._notifier is None or not is_up_to_date:
            await deferLater(self._clock, max(self._interval, rest))
            return
        if not self._has_changed:
            self._change = Deferred()
            try:
                await self._change.addTimeout(_RESCAN_SECONDS, self._clock)
            except TimeoutError:
                return
        await deferLater(self._clock, max(self._settle, rest))

    # The kernel's word

    def _open_notifier(self) -> None:
        if self._make_notifier is None:
            return
        try:
            self._notifier = self._make_notifier(self._changed)
        except (ImportError, OSError) as error:
            self._fall_back_to_polling(error)

    async def _watch_folders(self, tree: FolderTree) -> None:
        """Follow the folders that are there. What came to a new one before it was followed takes another look."""
        if self._notifier is None:
            return
        folders = {os.path.abspath(os.path.join(self._folder, path)): inode for path, inode in tree.folders.items()}
        try:
            for number, _ in enumerate(self._notifier.watch_folders(folders)):
                self._has_changed = True
                if number % _FOLDERS_PER_SLICE == _FOLDERS_PER_SLICE - 1:
                    await deferLater(self._clock, 0)
        except OSError as error:
            self._fall_back_to_polling(error)

    def _fall_back_to_polling(self, error: Exception) -> None:
        self.log.warn(
            "{source}: looks at {folder} each {interval} s, since inotify is not to be had: {why}",
            source=self._publisher.source,
            folder=self._folder,
            interval=self._interval,
            why=str(error),
        )
        self._close_notifier()

    def _close_notifier(self) -> None:
        notifier, self._notifier = self._notifier, None
        if notifier is not None:
            notifier.close()

    def _changed(self) -> None:
        self._has_changed = True
        change, self._change = self._change, None
        if change is not None:
            change.callback(None)

    def _log_problem(self, problem: str) -> None:
        """Log what is wrong with the folder when that is new, and when all is well again."""
        fields = {"source": self._publisher.source, "folder": self._folder}
        if problem and problem != self._problem:
            self.log.warn("{source}: {folder} {problem}; it is tried again", problem=problem, **fields)
        elif self._problem and not problem:
            self.log.info("{source}: {folder} is there", **fields)
        self._problem = problem


def inotify_factory(reactor: Any) -> Callable[[Callable[[], None]], ChangeNotifier]:
    """Give what makes a notifier. Only that imports Twisted's, which is not there on every system."""

    def make(on_change: Callable[[], None]) -> ChangeNotifier:
        from pushd.sources.inotify import InotifyNotifier

        return InotifyNotifier(reactor, on_change)

    return make


def _message(change: FileChange) -> SourceMessage:
    stamp = change.stamp
    fields = {
        "path": os.fsencode(change.path).decode("utf-8", "replace"),
        "change": change.change,
        "size": stamp.size if stamp else None,
        "time": round(stamp.modified / 1e9, 3) if stamp else None,
    }
    return SourceMessage(msgspec.json.encode(fields), JSON, change.change)


def _apply(change: FileChange, last_files: dict[str, FileStamp]) -> None:
    if change.stamp is None:
        del last_files[change.path]
    else:
        last_files[change.path] = change.stamp
