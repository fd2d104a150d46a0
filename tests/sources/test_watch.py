"""The source `watch`, with a fake clock and notifier, and a real folder."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail

from pushd.core.message import draft
from pushd.core.peer import DAEMON
from pushd.sources.watch import WatchRunner, inotify_factory
from tests.sources.source_harness import LogCapture, SourceHarness, call_now, result_of


class FakeNotifier:
    """A notifier that the test triggers."""

    def __init__(self) -> None:
        self.on_change: Callable[[], None] = lambda: None
        self.watched_folders: dict[str, int] = {}
        self.made = 0
        self.closed = 0
        self.resumed = 0
        self.is_refusing = False

    def __call__(self, on_change: Callable[[], None]) -> "FakeNotifier":
        self.on_change = on_change
        self.made += 1
        return self

    def resume(self) -> None:
        self.resumed += 1

    def watch_folders(self, folders: Mapping[str, int]) -> Iterator[str]:
        fresh = [path for path in folders if path not in self.watched_folders]
        self.watched_folders = {path: inode for path, inode in self.watched_folders.items() if path in folders}
        for path in fresh:
            if self.is_refusing:
                raise OSError("too many")
            self.watched_folders[path] = folders[path]
            yield path

    def close(self) -> None:
        self.closed += 1


class WatchedFolder:
    """A running source that watches a folder."""

    def __init__(
        self, folder: Path, notifier: Any = None, *, harness: SourceHarness | None = None, **options: Any
    ) -> None:
        self.harness = harness or SourceHarness()
        self.folder = folder
        settings: dict[str, Any] = {
            "recursive": False,
            "interval": 2.0,
            "settle": 0.1,
            "max_files": 100,
            "run_in_thread": call_now,
        } | options
        self.source = WatchRunner(
            self.harness.publisher, self.harness.clock, str(folder), notifier=notifier, **settings
        )
        self.start()

    def start(self) -> None:
        self.running = Deferred.fromCoroutine(self.source.run())
        self.running.addErrback(lambda _: None)

    def stop(self) -> None:
        self.running.cancel()
        assert not self.harness.clock.getDelayedCalls()

    def after(self, *seconds: float) -> list[str]:
        """Advance the clock; return all changes published so far."""
        self.harness.clock.pump(seconds)
        return self.changes

    @property
    def changes(self) -> list[str]:
        return [f"{found['change']} {found['path']}" for found in self.harness.objects]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/old").write_text("1")
    return tmp_path / "folder"


def test_changes_are_published_by_the_next_scan(folder):
    watched = WatchedFolder(folder)
    assert watched.after(2.0) == []
    (folder / "new").touch()
    assert watched.after(1.9) == []
    assert watched.after(0.1) == ["created new"]
    (folder / "old").write_text("22")
    (folder / "new").unlink()
    assert watched.after(2.0)[1:] == ["deleted new", "changed old"]
    watched.stop()


def test_message_has_path_change_size_and_time(folder):
    watched = WatchedFolder(folder)
    (folder / "new").write_text("12345")
    os.utime(folder / "new", ns=(0, 1763751574_123_456_789))
    watched.after(2.0)
    (folder / "new").unlink()
    watched.after(2.0)
    assert watched.harness.objects == [
        {"path": "new", "change": "created", "size": 5, "time": 1763751574.123},
        {"path": "new", "change": "deleted", "size": None, "time": None},
    ]
    assert [message.event for message in watched.harness.messages] == ["created", "deleted"]
    assert {message.content_type for message in watched.harness.messages} == {"application/json"}
    watched.stop()


def test_file_renamed_over_another_is_a_change(folder):
    watched = WatchedFolder(folder)
    (folder / "old~").write_text("2")
    os.utime(folder / "old~", ns=(1, (folder / "old").stat().st_mtime_ns))
    (folder / "old~").rename(folder / "old")
    assert watched.after(2.0) == ["changed old"]
    watched.stop()


def test_name_that_is_not_utf_8_is_replaced(folder):
    watched = WatchedFolder(folder)
    (folder / os.fsdecode(b"caf\xe9")).touch()
    assert watched.after(2.0) == ["created caf�"]
    watched.stop()


def test_subfolders_are_watched_if_recursive(folder):
    flat, deep = WatchedFolder(folder), WatchedFolder(folder, recursive=True)
    (folder / "sub").mkdir()
    (folder / "sub/a").touch()
    assert flat.after(2.0) == []
    assert deep.after(2.0) == ["created sub/a"]
    flat.stop()
    deep.stop()


def test_missing_folder_is_logged_once_and_retried(tmp_path):
    with LogCapture() as log:
        watched = WatchedFolder(tmp_path / "later", FakeNotifier())
        watched.after(2.0, 2.0)
        (tmp_path / "later").mkdir()
        (tmp_path / "later/a").touch()
        assert watched.after(2.0) == ["created a"]
    assert log.lines == [
        f"source x: {tmp_path}/later does not exist; retrying",
        f"source x: {tmp_path}/later is watched again",
    ]
    watched.stop()


def test_deleted_folder_deletes_its_files_and_is_retried(folder):
    notifier = FakeNotifier()
    with LogCapture() as log:
        watched = WatchedFolder(folder, notifier)
        watched.after(0.1)
        (folder / "old").unlink()
        folder.rmdir()
        notifier.on_change()
        assert watched.after(0.1) == ["deleted old"]
        assert notifier.watched_folders == {}
        folder.mkdir()
        (folder / "new").touch()
        assert watched.after(2.0) == ["deleted old", "created new"]
        assert set(notifier.watched_folders) == {str(folder)}
    assert [line.rpartition(str(folder))[2] for line in log.lines] == [" does not exist; retrying", " is watched again"]
    watched.stop()


def test_temporary_read_error_is_not_a_deletion(folder):
    answers = [fail(OSError(24, "Too many open files"))] * 2

    def run_in_thread(call: Any) -> Deferred[Any]:
        return answers.pop() if is_failing and answers else call_now(call)

    is_failing = False
    with LogCapture() as log:
        watched = WatchedFolder(folder, run_in_thread=run_in_thread)
        is_failing = True
        assert watched.after(2.0, 2.0, 2.0) == []
    assert log.lines == [
        f"source x: {folder} cannot be watched: [Errno 24] Too many open files; retrying",
        f"source x: {folder} is watched again",
    ]
    watched.stop()


def test_folder_with_too_many_files_is_not_watched(folder):
    (folder / "a").touch()
    with LogCapture() as log:
        watched = WatchedFolder(folder, max_files=3)
        (folder / "b").touch()
        assert watched.after(2.0) == []
        (folder / "a").unlink()
        assert watched.after(2.0) == ["deleted a", "created b"]
    assert log.lines[0].endswith("cannot be watched: more than 3 files and folders; retrying")
    watched.stop()


def test_refused_change_is_retried(folder):
    notifier, harness = FakeNotifier(), SourceHarness(channels=1)
    result_of(harness.hub.publish(DAEMON, draft("other", b"1")))
    watched = WatchedFolder(folder, notifier, harness=harness)
    watched.after(0.1)
    (folder / "new").touch()
    notifier.on_change()
    assert watched.after(0.1, 2.0, 2.0) == []
    result_of(harness.hub.delete(DAEMON, "other"))
    assert watched.after(2.0) == ["created new"]
    watched.stop()


def test_notification_triggers_one_scan_after_the_settle_time(folder):
    notifier = FakeNotifier()
    watched = WatchedFolder(folder, notifier)
    watched.after(0.1)
    (folder / "a").touch()
    assert watched.after(2.0, 2.0) == []
    notifier.on_change()
    (folder / "b").touch()
    notifier.on_change()
    assert watched.after(0.09) == []
    resumed = notifier.resumed
    assert watched.after(0.01) == ["created a", "created b"]
    assert notifier.resumed == resumed + 1
    watched.stop()


def test_change_during_a_scan_triggers_another(folder):
    notifier, scans = FakeNotifier(), []

    def run_in_thread(call: Any) -> Deferred[Any]:
        scans.append(call_now(call))
        if len(scans) == 2:
            (folder / "late").touch()
            notifier.on_change()
        return scans[-1]

    watched = WatchedFolder(folder, notifier, run_in_thread=run_in_thread)
    assert watched.after(0.1) == []
    assert watched.after(0.1) == ["created late"]
    assert len(scans) == 3
    assert watched.after(1.0) == ["created late"]
    assert len(scans) == 3
    watched.stop()


def test_change_before_a_new_folder_is_watched_is_found(folder, monkeypatch):
    notifier = FakeNotifier()
    watch_folders = notifier.watch_folders

    def write_early(folders: Mapping[str, int]) -> Iterator[str]:
        for path in watch_folders(folders):
            (folder / "sub/a").touch()
            yield path

    watched = WatchedFolder(folder, notifier, recursive=True)
    watched.after(0.1)
    (folder / "sub").mkdir()
    monkeypatch.setattr(notifier, "watch_folders", write_early)
    notifier.on_change()
    assert watched.after(0.1) == []
    assert watched.after(0.1) == ["created sub/a"]
    watched.stop()


def test_scans_every_minute_without_notifications(folder):
    watched = WatchedFolder(folder, FakeNotifier())
    watched.after(0.1)
    (folder / "a").touch()
    assert watched.after(59.9) == []
    assert watched.after(0.1, 0.1) == ["created a"]
    watched.stop()


@pytest.mark.parametrize("notifier", [None, FakeNotifier()], ids=["polling", "notified"])
def test_long_scan_is_followed_by_a_longer_pause(folder, notifier):
    harness, scans = SourceHarness(), []

    def slow(call: Any) -> Deferred[Any]:
        scans.append(harness.clock.seconds())
        answer: Deferred[Any] = Deferred()
        harness.clock.callLater(1.0, lambda: answer.callback(call_now(call).result))
        return answer

    watched = WatchedFolder(folder, notifier, run_in_thread=slow, harness=harness)
    for _ in range(30):
        watched.source._changed()
        watched.after(0.5)
    assert scans == [0, 5, 10, 15]
    watched.after(1.0)
    watched.stop()


@pytest.mark.parametrize("error", [ImportError("no inotify"), OSError("too many")])
def test_falls_back_to_polling_and_logs_it(folder, error):
    def none(_: object) -> Any:
        raise error

    with LogCapture() as log:
        watched = WatchedFolder(folder, none)
        (folder / "a").touch()
        assert watched.after(2.0) == ["created a"]
    assert log.lines == [f"source x: inotify is unavailable ({error}): scanning {folder} every 2.0 s"]
    watched.stop()


def test_failure_to_watch_a_folder_falls_back_to_polling(folder):
    notifier = FakeNotifier()
    notifier.is_refusing = True
    with LogCapture() as log:
        watched = WatchedFolder(folder, notifier)
        (folder / "a").touch()
        assert watched.after(2.0) == ["created a"]
    assert notifier.closed == 1
    assert len(log.lines) == 1
    watched.stop()


def test_many_new_folders_are_watched_in_slices(folder):
    for number in range(250):
        (folder / str(number)).mkdir()
    notifier = FakeNotifier()
    watched = WatchedFolder(folder, notifier, recursive=True, max_files=1000)
    assert len(notifier.watched_folders) == 100
    watched.after(0)
    assert len(notifier.watched_folders) == 251
    watched.stop()


def test_stop_closes_the_notifier_and_restart_keeps_the_state(folder):
    notifier = FakeNotifier()
    watched = WatchedFolder(folder, notifier)
    watched.after(0.1)
    watched.stop()
    assert notifier.closed == 1
    (folder / "a").touch()
    watched.start()
    assert notifier.made == 2
    assert watched.changes == ["created a"]
    watched.stop()


def test_inotify_is_imported_lazily(monkeypatch):
    monkeypatch.setitem(sys.modules, "pushd.sources.inotify", None)
    make = inotify_factory(object())
    with pytest.raises(ImportError):
        make(lambda: None)
