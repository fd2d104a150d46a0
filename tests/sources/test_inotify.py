"""The kernel's word, and Twisted's way to hand it on: with a real kernel."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import deferLater
from twisted.python.filepath import FilePath

from pushd.sources.aside import aside
from pushd.sources.life import Life
from pushd.sources.watch import Watch, by_inotify
from tests.sources.stage import Log, Stage, until

inotify = pytest.importorskip("pushd.sources.inotify", reason="inotify is of Linux", exc_type=ImportError)
_QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")


class Ear:
    """A notifier, and how often it woke anybody."""

    def __init__(self, *folders: Path) -> None:
        from twisted.internet import reactor

        self.woken = 0
        self.notifier = inotify.Notifier(reactor, self._wake)
        assert self.follow(*folders) == list(map(str, folders))

    def _wake(self) -> None:
        self.woken += 1

    def follow(self, *folders: Path) -> list[str]:
        return list(self.notifier.follow({str(folder): folder.stat().st_ino for folder in folders}))

    async def hears(self, act: Callable[[], object]) -> bool:
        """Whether something that is done wakes it."""
        self.notifier.listen()
        await self.rest()
        self.notifier.listen()
        before = self.woken
        act()
        await self.rest()
        return self.woken > before

    async def rest(self) -> None:
        from twisted.internet import reactor

        for _ in range(5):
            await deferLater(reactor, 0.005)


@pytest.fixture
def listen() -> Iterator[Callable[..., Ear]]:
    ears: list[Ear] = []

    def make(*folders: Path) -> Ear:
        ears.append(Ear(*folders))
        return ears[-1]

    yield make
    for ear in ears:
        ear.notifier.close()


async def test_each_kind_of_change_wakes_and_looking_does_not(tmp_path, listen):
    ear, file = listen(tmp_path), tmp_path / "a"
    assert await ear.hears(file.touch)
    assert await ear.hears(lambda: file.write_text("1"))
    assert await ear.hears(lambda: os.utime(file))
    assert await ear.hears(lambda: file.rename(tmp_path / "b"))
    assert await ear.hears((tmp_path / "b").unlink)
    assert not await ear.hears(lambda: [entry.stat() for entry in os.scandir(tmp_path)])


async def test_it_wakes_once_and_then_not_until_it_is_listened_to_again(tmp_path, listen):
    ear = listen(tmp_path)
    assert await ear.hears((tmp_path / "a").touch)
    before = ear.woken
    for number in range(100):
        (tmp_path / str(number)).touch()
    await ear.rest()
    assert ear.woken == before
    ear.notifier.listen()
    await ear.rest()
    assert ear.woken > before


async def test_only_what_is_new_is_followed_and_what_is_gone_no_more(tmp_path, listen):
    a, b = tmp_path / "a", tmp_path / "b"
    a.mkdir()
    b.mkdir()
    ear = listen(a)
    assert ear.follow(a, b) == [str(b)]
    assert ear.follow(b) == []
    assert not await ear.hears((a / "x").touch)
    assert await ear.hears((b / "x").touch)


async def test_one_folder_that_is_deleted_leaves_the_others_followed(tmp_path, listen):
    sub = tmp_path / "sub"
    sub.mkdir()
    ear = listen(tmp_path, sub)
    assert await ear.hears(sub.rmdir)
    assert await ear.hears((tmp_path / "a").touch)


async def test_a_new_folder_with_the_inode_of_a_deleted_one_is_followed(tmp_path, listen):
    sub = tmp_path / "sub"
    sub.mkdir()
    inode = sub.stat().st_ino
    ear = listen(sub)
    assert await ear.hears(sub.rmdir)
    sub.mkdir()
    assert list(ear.notifier.follow({str(sub): inode})) == [str(sub)]
    assert await ear.hears((sub / "a").touch)


async def test_a_folder_is_followed_anew_when_what_was_mounted_there_is_gone(tmp_path, listen):
    ear, folder = listen(tmp_path), FilePath(os.fsencode(tmp_path))
    before = ear.notifier._reader._isWatched(folder)
    # Only root could unmount something. The kernel then forgets the folder, and Twisted does not.
    ear.notifier._stirred(None, folder, inotify.inotify.IN_UNMOUNT)
    assert ear.follow(tmp_path) == [str(tmp_path)]
    assert ear.notifier._reader._isWatched(folder) != before


async def test_a_folder_that_takes_the_place_of_a_moved_one_is_followed_in_its_stead(tmp_path, listen):
    sub, moved = tmp_path / "sub", tmp_path / "moved"
    sub.mkdir()
    ear = listen(sub)
    sub.rename(moved)
    sub.mkdir()
    assert ear.follow(sub) == [str(sub)]
    assert await ear.hears((sub / "a").touch)
    assert not await ear.hears((moved / "a").touch)


async def test_a_folder_that_moves_is_followed_under_its_new_name(tmp_path, listen):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    ear = listen(old)
    old.rename(new)
    assert ear.follow(new) == [str(new)]
    assert await ear.hears((new / "a").touch)


async def test_a_folder_that_is_gone_before_it_is_followed_breaks_nothing(tmp_path, listen):
    ear = listen()
    assert list(ear.notifier.follow({str(tmp_path / "gone"): 1})) == [str(tmp_path / "gone")]


async def test_a_folder_that_the_kernel_does_not_follow_is_told(tmp_path, listen, monkeypatch):
    ear = listen()

    def refuse(*_: object) -> None:
        raise inotify.inotify.INotifyError("no space")

    monkeypatch.setattr(inotify._Reader, "watch", lambda *_, **__: refuse())
    with pytest.raises(OSError, match="no space"):
        ear.follow(tmp_path)


async def test_a_kernel_that_has_no_further_ear_is_told(monkeypatch):
    def refuse(*_: object) -> None:
        raise inotify.inotify.INotifyError("too many")

    monkeypatch.setattr(inotify._Reader, "__init__", refuse)
    with pytest.raises(OSError, match="too many"):
        inotify.Notifier(object(), lambda: None)


# The source as a whole


class Watched:
    """A source that watches a folder by inotify, running."""

    def __init__(self, folder: Path) -> None:
        from twisted.internet import reactor

        self.stage = Stage(reactor)
        source = Watch(
            self.stage.publisher,
            reactor,
            str(folder),
            True,
            0.1,
            0.02,
            10_000,
            lambda call: aside(reactor, call),
            by_inotify(reactor),
        )
        self.source: Any = source
        self.seen = 0
        self.life = Life("source x", source, reactor)
        self.life.startService()

    @property
    def told(self) -> list[str]:
        return [f"{found['change']} {found['path']}" for found in self.stage.objects]

    async def looked(self) -> None:
        """Wait until it knows what is there, and waits."""
        await until(lambda: self.source._known is not None and self.source._stirred is not None, "a look")

    async def tells(self, *wanted: str) -> None:
        """Wait until that, and nothing else, has been told since the last time."""
        start = self.seen
        await until(lambda: len(self.told) >= start + len(wanted), f"{wanted}, but {self.told[start:]}")
        self.seen = len(self.told)
        assert sorted(self.told[start:]) == sorted(wanted)


async def test_a_real_folder_is_told_from_change_to_change(tmp_path):
    def put(path: str) -> None:
        """Put a new file there in one step: a look may come at any time."""
        (tmp_path / "draft").write_text(path)
        (tmp_path / "draft").rename(folder / path)

    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "old").touch()
    watched = Watched(folder)
    await watched.looked()
    put("new")
    await watched.tells("created new")
    os.utime(folder / "new")
    await watched.tells("changed new")
    put("new")
    await watched.tells("changed new")
    put("sub/a")
    await watched.tells("created sub/a")
    shutil.rmtree(folder / "sub")
    await watched.tells("deleted sub/a")
    (folder / "sub/deep").mkdir(parents=True)
    put("sub/deep/b")
    await watched.tells("created sub/deep/b")
    (folder / "sub").rename(folder / "moved")
    await watched.tells("created moved/deep/b", "deleted sub/deep/b")
    put("moved/deep/c")
    await watched.tells("created moved/deep/c")
    await maybeDeferred(watched.life.stopService)


async def test_a_real_folder_that_vanishes_is_followed_again_when_it_comes_back(tmp_path):
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/old").touch()
    watched = Watched(folder)
    await watched.looked()
    with Log() as log:
        shutil.rmtree(folder)
        await watched.tells("deleted sub/old")
        await until(lambda: log.lines, "the log")
        folder.mkdir()
        await until(lambda: len(log.lines) == 2, "the folder")
    assert [line.rpartition(str(folder))[2] for line in log.lines] == [" is not there; it is tried again", " is there"]
    await watched.looked()
    (folder / "new").touch()
    await watched.tells("created new")
    await maybeDeferred(watched.life.stopService)


@pytest.mark.skipif(int(_QUEUE.read_text()) > 20_000, reason="the queue of this kernel is long")
async def test_what_the_kernel_forgot_to_tell_is_found(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.touch()
    b.touch()
    watched = Watched(tmp_path)
    await watched.looked()
    for _ in range(12_000):  # two that alternate, since the kernel joins what is the same
        os.utime(a)
        os.utime(b)
    (tmp_path / "forgotten").touch()
    await until(lambda: "created forgotten" in watched.told, "the file of which the kernel did not speak")
    await maybeDeferred(watched.life.stopService)
