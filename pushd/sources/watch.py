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
from pushd.sources.publisher import Publisher, Saying
from pushd.sources.tree import Change, Stamp, TooManyFiles, Tree, compare, read_tree

_SURE_SECONDS = 60.0
"""A look of its own accord, for what the kernel does not tell: that a folder above was renamed, or mounted over."""
_SLICE = 100
"""New folders that are followed before the reactor has its turn: about 10 ms."""
_REST = 4
"""Times what a look took, in which there is no other: a large folder takes a fifth of a processor at most."""


class Stirring(Protocol):
    """What knows that something stirs in folders; see `pushd.sources.inotify.Notifier`."""

    def listen(self) -> None: ...

    def follow(self, folders: Mapping[str, int]) -> Iterator[str]: ...

    def close(self) -> None: ...


class Watch:
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
        publisher: Publisher,
        clock: IReactorTime,
        folder: str,
        recursive: bool,
        interval: float,
        settle: float,
        most: int,
        aside: Callable[[Callable[[], Any]], Deferred[Any]],
        notifier: Callable[[Callable[[], None]], Stirring] | None,
    ) -> None:
        self._publisher = publisher
        self._clock = clock
        self._folder = folder
        self._read: Callable[[], tuple[Tree, list[Change]]] = lambda: self._compared(read_tree(folder, recursive, most))
        self._interval = interval
        self._settle = settle
        self._aside = aside
        self._make_notifier = notifier
        self._notifier: Stirring | None = None
        self._known: dict[str, Stamp] | None = None
        self._trouble = ""
        self._stirs = False
        self._stirred: Deferred[None] | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        self._open_notifier()
        try:
            while True:
                began = self._clock.seconds()
                is_current = await self._look()
                took = self._clock.seconds() - began
                await self._until_next(is_current, _REST * took)
        finally:
            self._close_notifier()

    async def _look(self) -> bool:
        """Look, and publish; tell whether all that is known is true and told, so that the next look can wait."""
        self._stirs = False
        if self._notifier is not None:
            self._notifier.listen()
        try:
            tree, changes = await self._aside(self._read)
        except (FileNotFoundError, NotADirectoryError):
            self._tell("is not there")
            tree, changes = self._compared(Tree({}, {}))
        except (OSError, TooManyFiles) as error:
            self._tell(f"can not be watched: {error}")
            return False
        else:
            self._tell("")
        await self._follow(tree)
        if self._known is None:
            self._known = dict(tree.files)
        return await self._publish(changes, self._known) and bool(tree.folders)

    def _compared(self, tree: Tree) -> tuple[Tree, list[Change]]:
        """Compare with what is known. Called aside."""
        return tree, [] if self._known is None else compare(self._known, tree.files)

    async def _publish(self, changes: Sequence[Change], known: dict[str, Stamp]) -> bool:
        accepted = await self._publisher.publish(map(_saying, changes)) if changes else []
        for change, is_accepted in zip(changes, accepted, strict=True):
            if is_accepted:
                _apply(change, known)
        return all(accepted)

    async def _until_next(self, is_current: bool, rest: float) -> None:
        if self._notifier is None or not is_current:
            await deferLater(self._clock, max(self._interval, rest))
            return
        if not self._stirs:
            self._stirred = Deferred()
            try:
                await self._stirred.addTimeout(_SURE_SECONDS, self._clock)
            except TimeoutError:
                return
        await deferLater(self._clock, max(self._settle, rest))

    # The kernel's word

    def _open_notifier(self) -> None:
        if self._make_notifier is None:
            return
        try:
            self._notifier = self._make_notifier(self._stir)
        except (ImportError, OSError) as error:
            self._do_without(error)

    async def _follow(self, tree: Tree) -> None:
        """Follow the folders that are there. What came to a new one before it was followed takes another look."""
        if self._notifier is None:
            return
        folders = {os.path.abspath(os.path.join(self._folder, path)): inode for path, inode in tree.folders.items()}
        try:
            for number, _ in enumerate(self._notifier.follow(folders)):
                self._stirs = True
                if number % _SLICE == _SLICE - 1:
                    await deferLater(self._clock, 0)
        except OSError as error:
            self._do_without(error)

    def _do_without(self, error: Exception) -> None:
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

    def _stir(self) -> None:
        self._stirs = True
        stirred, self._stirred = self._stirred, None
        if stirred is not None:
            stirred.callback(None)

    def _tell(self, trouble: str) -> None:
        """Log what is wrong with the folder when that is new, and when all is well again."""
        fields = {"source": self._publisher.source, "folder": self._folder}
        if trouble and trouble != self._trouble:
            self.log.warn("{source}: {folder} {trouble}; it is tried again", trouble=trouble, **fields)
        elif self._trouble and not trouble:
            self.log.info("{source}: {folder} is there", **fields)
        self._trouble = trouble


def by_inotify(reactor: Any) -> Callable[[Callable[[], None]], Stirring]:
    """Give what makes a notifier. Only that imports Twisted's, which is not there on every system."""

    def make(wake: Callable[[], None]) -> Stirring:
        from pushd.sources.inotify import Notifier

        return Notifier(reactor, wake)

    return make


def _saying(change: Change) -> Saying:
    stamp = change.stamp
    told = {
        "path": os.fsencode(change.path).decode("utf-8", "replace"),
        "change": change.change,
        "size": stamp.size if stamp else None,
        "time": round(stamp.modified / 1e9, 3) if stamp else None,
    }
    return Saying(msgspec.json.encode(told), JSON, change.change)


def _apply(change: Change, known: dict[str, Stamp]) -> None:
    if change.stamp is None:
        del known[change.path]
    else:
        known[change.path] = change.stamp
