"""Change notifications of a real kernel."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import deferLater
from twisted.python.filepath import FilePath

from pushd.sources.supervision import SupervisedSource
from pushd.sources.threads import run_in_thread
from pushd.sources.watch import WatchRunner, inotify_factory
from tests.sources.source_harness import LogCapture, SourceHarness, until

inotify = pytest.importorskip("pushd.sources.inotify", reason="inotify exists on Linux only", exc_type=ImportError)
_QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")


class NotifierProbe:
    """A notifier that counts its notifications."""

    def __init__(self, *folders: Path) -> None:
        from twisted.internet import reactor

        self.wakeups = 0
        self.notifier = inotify.InotifyNotifier(reactor, self._wake)
        assert self.watch_folders(*folders) == list(map(str, folders))

    def _wake(self) -> None:
        self.wakeups += 1

    def watch_folders(self, *folders: Path) -> list[str]:
        return list(self.notifier.watch_folders({str(folder): folder.stat().st_ino for folder in folders}))

    async def is_woken_by(self, act: Callable[[], object]) -> bool:
        """Return whether an action causes a notification."""
        self.notifier.resume()
        await self.settle()
        self.notifier.resume()
        before = self.wakeups
        act()
        await self.settle()
        return self.wakeups > before

    async def settle(self) -> None:
        from twisted.internet import reactor

        for _ in range(5):
            await deferLater(reactor, 0.005)


@pytest.fixture
def make_probe() -> Iterator[Callable[..., NotifierProbe]]:
    probes: list[NotifierProbe] = []

    def make(*folders: Path) -> NotifierProbe:
        probes.append(NotifierProbe(*folders))
        return probes[-1]

    yield make
    for probe in probes:
        probe.notifier.close()


async def test_every_change_notifies_and_reading_does_not(tmp_path, make_probe):
    probe, file = make_probe(tmp_path), tmp_path / "a"
    assert await probe.is_woken_by(file.touch)
    assert await probe.is_woken_by(lambda: file.write_text("1"))
    assert await probe.is_woken_by(lambda: os.utime(file))
    assert await probe.is_woken_by(lambda: file.rename(tmp_path / "b"))
    assert await probe.is_woken_by((tmp_path / "b").unlink)
    assert not await probe.is_woken_by(lambda: [entry.stat() for entry in os.scandir(tmp_path)])


async def test_notifies_once_and_then_pauses_until_resumed(tmp_path, make_probe):
    probe = make_probe(tmp_path)
    assert await probe.is_woken_by((tmp_path / "a").touch)
    before = probe.wakeups
    for number in range(100):
        (tmp_path / str(number)).touch()
    await probe.settle()
    assert probe.wakeups == before
    probe.notifier.resume()
    await probe.settle()
    assert probe.wakeups > before


async def test_new_folders_are_watched_and_removed_ones_are_not(tmp_path, make_probe):
    a, b = tmp_path / "a", tmp_path / "b"
    a.mkdir()
    b.mkdir()
    probe = make_probe(a)
    assert probe.watch_folders(a, b) == [str(b)]
    assert probe.watch_folders(b) == []
    assert not await probe.is_woken_by((a / "x").touch)
    assert await probe.is_woken_by((b / "x").touch)


async def test_deleted_folder_does_not_affect_the_others(tmp_path, make_probe):
    sub = tmp_path / "sub"
    sub.mkdir()
    probe = make_probe(tmp_path, sub)
    assert await probe.is_woken_by(sub.rmdir)
    assert await probe.is_woken_by((tmp_path / "a").touch)


async def test_new_folder_with_the_inode_of_a_deleted_one_is_watched(tmp_path, make_probe):
    sub = tmp_path / "sub"
    sub.mkdir()
    inode = sub.stat().st_ino
    probe = make_probe(sub)
    assert await probe.is_woken_by(sub.rmdir)
    sub.mkdir()
    assert list(probe.notifier.watch_folders({str(sub): inode})) == [str(sub)]
    assert await probe.is_woken_by((sub / "a").touch)


async def test_unmounted_folder_is_watched_again(tmp_path, make_probe):
    probe, folder = make_probe(tmp_path), FilePath(os.fsencode(tmp_path))
    before = probe.notifier._reader._isWatched(folder)
    # Only root could unmount something. The kernel then removes the watch; Twisted does not.
    probe.notifier._event_received(None, folder, inotify.inotify.IN_UNMOUNT)
    assert probe.watch_folders(tmp_path) == [str(tmp_path)]
    assert probe.notifier._reader._isWatched(folder) != before


async def test_folder_that_replaces_a_moved_one_is_watched(tmp_path, make_probe):
    sub, moved = tmp_path / "sub", tmp_path / "moved"
    sub.mkdir()
    probe = make_probe(sub)
    sub.rename(moved)
    sub.mkdir()
    assert probe.watch_folders(sub) == [str(sub)]
    assert await probe.is_woken_by((sub / "a").touch)
    assert not await probe.is_woken_by((moved / "a").touch)


async def test_moved_folder_is_watched_under_its_new_name(tmp_path, make_probe):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    probe = make_probe(old)
    old.rename(new)
    assert probe.watch_folders(new) == [str(new)]
    assert await probe.is_woken_by((new / "a").touch)


async def test_folder_deleted_before_it_is_watched_is_no_error(tmp_path, make_probe):
    probe = make_probe()
    assert list(probe.notifier.watch_folders({str(tmp_path / "gone"): 1})) == [str(tmp_path / "gone")]


async def test_failure_to_watch_a_folder_is_raised(tmp_path, make_probe, monkeypatch):
    probe = make_probe()

    def refuse(*_: object) -> None:
        raise inotify.inotify.INotifyError("no space")

    monkeypatch.setattr(inotify._Reader, "watch", lambda *_, **__: refuse())
    with pytest.raises(OSError, match="no space"):
        probe.watch_folders(tmp_path)


async def test_failure_to_open_inotify_is_raised(monkeypatch):
    def refuse(*_: object) -> None:
        raise inotify.inotify.INotifyError("too many")

    monkeypatch.setattr(inotify._Reader, "__init__", refuse)
    with pytest.raises(OSError, match="too many"):
        inotify.InotifyNotifier(object(), lambda: None)


# The source as a whole


class WatchedFolder:
    """A running source that watches a folder by inotify."""

    def __init__(self, folder: Path) -> None:
        from twisted.internet import reactor

        self.harness = SourceHarness(reactor)
        source = WatchRunner(
            self.harness.publisher,
            reactor,
            str(folder),
            True,
            0.1,
            0.02,
            10_000,
            lambda call: run_in_thread(reactor, call),
            inotify_factory(reactor),
        )
        self.source: Any = source
        self.seen = 0
        self.service = SupervisedSource("source x", source, reactor)
        self.service.startService()

    @property
    def changes(self) -> list[str]:
        return [f"{found['change']} {found['path']}" for found in self.harness.objects]

    async def first_scan(self) -> None:
        """Wait until the source has scanned and waits for a notification."""
        await until(lambda: self.source._last_files is not None and self.source._change is not None, "a scan")

    async def expect_changes(self, *wanted: str) -> None:
        """Wait until these changes, and no others, have been published since the last call."""
        start = self.seen
        await until(lambda: len(self.changes) >= start + len(wanted), f"{wanted}, but {self.changes[start:]}")
        self.seen = len(self.changes)
        assert sorted(self.changes[start:]) == sorted(wanted)


async def test_changes_of_a_real_folder_are_published(tmp_path):
    def put(path: str) -> None:
        """Create a file atomically, because a scan can happen at any time."""
        (tmp_path / "draft").write_text(path)
        (tmp_path / "draft").rename(folder / path)

    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "old").touch()
    watched = WatchedFolder(folder)
    await watched.first_scan()
    put("new")
    await watched.expect_changes("created new")
    os.utime(folder / "new")
    await watched.expect_changes("changed new")
    put("new")
    await watched.expect_changes("changed new")
    put("sub/a")
    await watched.expect_changes("created sub/a")
    shutil.rmtree(folder / "sub")
    await watched.expect_changes("deleted sub/a")
    (folder / "sub/deep").mkdir(parents=True)
    put("sub/deep/b")
    await watched.expect_changes("created sub/deep/b")
    (folder / "sub").rename(folder / "moved")
    await watched.expect_changes("created moved/deep/b", "deleted sub/deep/b")
    put("moved/deep/c")
    await watched.expect_changes("created moved/deep/c")
    await maybeDeferred(watched.service.stopService)


async def test_real_folder_that_is_recreated_is_watched_again(tmp_path):
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/old").touch()
    watched = WatchedFolder(folder)
    await watched.first_scan()
    with LogCapture() as log:
        shutil.rmtree(folder)
        await watched.expect_changes("deleted sub/old")
        await until(lambda: log.lines, "the log")
        folder.mkdir()
        await until(lambda: len(log.lines) == 2, "the folder")
    assert [line.rpartition(str(folder))[2] for line in log.lines] == [" does not exist; retrying", " is watched again"]
    await watched.first_scan()
    (folder / "new").touch()
    await watched.expect_changes("created new")
    await maybeDeferred(watched.service.stopService)


@pytest.mark.skipif(int(_QUEUE.read_text()) > 20_000, reason="the event queue of this kernel is long")
async def test_changes_whose_events_were_dropped_are_found(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.touch()
    b.touch()
    watched = WatchedFolder(tmp_path)
    await watched.first_scan()
    for _ in range(12_000):  # alternating, because the kernel merges identical events
        os.utime(a)
        os.utime(b)
    (tmp_path / "forgotten").touch()
    await until(lambda: "created forgotten" in watched.changes, "the file whose event was dropped")
    await maybeDeferred(watched.service.stopService)
