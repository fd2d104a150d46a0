"""The source `watch`: files created, changed and deleted in a folder, as JSON objects.

    {"path": "photos/cat.jpg", "change": "created", "size": 48213, "time": 1763751574.123}

The event type is the change. `size` (bytes) and `time` (of the modification) are null for a deleted file.
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
"""Maximum time between two scans; the kernel does not report that a parent was renamed or mounted over."""
_FOLDERS_PER_SLICE = 100
"""Number of new folders to watch before yielding to the reactor: about 10 ms."""
_REST_FACTOR = 4
"""Pause after a scan, in multiples of its duration: scans use at most a fifth of one CPU."""


class ChangeNotifier(Protocol):
    """Change notifications for folders; see `pushd.sources.inotify.InotifyNotifier`."""

    def resume(self) -> None: ...

    def watch_folders(self, folders: Mapping[str, int]) -> Iterator[str]: ...

    def close(self) -> None: ...


class WatchRunner:
    """Scans a folder after a notification, else at each interval, and publishes the differences from the last scan.

    The files of the first scan are not published. A file that is created and deleted between two scans goes unnoticed;
    so an editor that writes a new file and renames it over the old one causes one change. A change whose publish is
    refused is found again by the next scan.

    :param recursive: whether to include subfolders.
    :param interval: seconds between two scans without notifications, or while the folder does not exist.
    :param settle: seconds from a notification to the scan, to batch changes.
    :param max_files: limit of files and folders; if there are more, nothing is watched.
    :param notifier: constructs the notifier, or raises ImportError or OSError; None to scan at each interval.
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
        """Scan and publish until cancelled."""
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
        """Scan and publish; return whether all changes were published, and a notification can trigger the next scan."""
        self._has_changed = False
        if self._notifier is not None:
            self._notifier.resume()
        try:
            tree, changes = await self._run_in_thread(self._read)
        except (FileNotFoundError, NotADirectoryError):
            self._log_problem("does not exist")
            tree, changes = self._compare(FolderTree({}, {}))
        except (OSError, TooManyFiles) as error:
            self._log_problem(f"cannot be watched: {error}")
            return False
        else:
            self._log_problem("")
        await self._watch_folders(tree)
        if self._last_files is None:
            self._last_files = dict(tree.files)
        return await self._publish(changes, self._last_files) and bool(tree.folders)

    def _compare(self, tree: FolderTree) -> tuple[FolderTree, list[FileChange]]:
        """Compare with the last scan. Called in a thread."""
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

    # Notifications

    def _open_notifier(self) -> None:
        if self._make_notifier is None:
            return
        try:
            self._notifier = self._make_notifier(self._changed)
        except (ImportError, OSError) as error:
            self._fall_back_to_polling(error)

    async def _watch_folders(self, tree: FolderTree) -> None:
        """Watch the folders of a scan. New ones cause another scan, for changes made before they were watched."""
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
            "{source}: inotify is unavailable ({reason}): scanning {folder} every {interval} s",
            source=self._publisher.source,
            folder=self._folder,
            interval=self._interval,
            reason=str(error),
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
        """Log a new problem with the folder, and its end; the empty string is no problem."""
        fields = {"source": self._publisher.source, "folder": self._folder}
        if problem and problem != self._problem:
            self.log.warn("{source}: {folder} {problem}; retrying", problem=problem, **fields)
        elif self._problem and not problem:
            self.log.info("{source}: {folder} is watched again", **fields)
        self._problem = problem


def inotify_factory(reactor: Any) -> Callable[[Callable[[], None]], ChangeNotifier]:
    """Return a constructor of notifiers. It imports Twisted's inotify lazily, as that exists on Linux only."""

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
