"""What is told of a folder: with a clock and a kernel that the test moves, and a real folder."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail

from pushd.core.message import draft
from pushd.sources.watch import Watch, by_inotify
from tests.sources.stage import Log, Stage, at_once, now


class Kernel:
    """What tells that something stirs: the test does."""

    def __init__(self) -> None:
        self.wake: Callable[[], None] = lambda: None
        self.followed: dict[str, int] = {}
        self.made = 0
        self.closed = 0
        self.listening = 0
        self.refuses = False

    def __call__(self, wake: Callable[[], None]) -> "Kernel":
        self.wake = wake
        self.made += 1
        return self

    def listen(self) -> None:
        self.listening += 1

    def follow(self, folders: Mapping[str, int]) -> Iterator[str]:
        fresh = [path for path in folders if path not in self.followed]
        self.followed = {path: inode for path, inode in self.followed.items() if path in folders}
        for path in fresh:
            if self.refuses:
                raise OSError("too many")
            self.followed[path] = folders[path]
            yield path

    def close(self) -> None:
        self.closed += 1


class Watched:
    """A source that watches a folder, running."""

    def __init__(self, folder: Path, kernel: Any = None, *, stage: Stage | None = None, **options: Any) -> None:
        self.stage = stage or Stage()
        self.folder = folder
        settings: dict[str, Any] = {"recursive": False, "interval": 2.0, "settle": 0.1, "most": 100, "aside": at_once}
        settings |= options
        self.source = Watch(self.stage.publisher, self.stage.clock, str(folder), notifier=kernel, **settings)
        self.start()

    def start(self) -> None:
        self.running = Deferred.fromCoroutine(self.source.run())
        self.running.addErrback(lambda _: None)

    def stop(self) -> None:
        self.running.cancel()
        assert not self.stage.clock.getDelayedCalls()

    def after(self, *seconds: float) -> list[str]:
        """Let time pass; give what is told by then, as words."""
        self.stage.clock.pump(seconds)
        return self.told

    @property
    def told(self) -> list[str]:
        return [f"{found['change']} {found['path']}" for found in self.stage.objects]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/old").write_text("1")
    return tmp_path / "folder"


def test_what_is_created_changed_and_deleted_is_told_at_the_next_look(folder):
    watched = Watched(folder)
    assert watched.after(2.0) == []
    (folder / "new").touch()
    assert watched.after(1.9) == []
    assert watched.after(0.1) == ["created new"]
    (folder / "old").write_text("22")
    (folder / "new").unlink()
    assert watched.after(2.0)[1:] == ["deleted new", "changed old"]
    watched.stop()


def test_a_message_tells_path_change_size_and_time_and_its_event_is_the_change(folder):
    watched = Watched(folder)
    (folder / "new").write_text("12345")
    os.utime(folder / "new", ns=(0, 1763751574_123_456_789))
    watched.after(2.0)
    (folder / "new").unlink()
    watched.after(2.0)
    assert watched.stage.objects == [
        {"path": "new", "change": "created", "size": 5, "time": 1763751574.123},
        {"path": "new", "change": "deleted", "size": None, "time": None},
    ]
    assert [message.event for message in watched.stage.messages] == ["created", "deleted"]
    assert {message.content_type for message in watched.stage.messages} == {"application/json"}
    watched.stop()


def test_a_file_that_an_editor_renames_over_another_has_changed(folder):
    watched = Watched(folder)
    (folder / "old~").write_text("2")
    os.utime(folder / "old~", ns=(1, (folder / "old").stat().st_mtime_ns))
    (folder / "old~").rename(folder / "old")
    assert watched.after(2.0) == ["changed old"]
    watched.stop()


def test_a_name_that_is_not_utf_8_is_told_as_well_as_can_be(folder):
    watched = Watched(folder)
    (folder / os.fsdecode(b"caf\xe9")).touch()
    assert watched.after(2.0) == ["created caf�"]
    watched.stop()


def test_folders_in_it_count_where_that_is_wanted(folder):
    flat, deep = Watched(folder), Watched(folder, recursive=True)
    (folder / "sub").mkdir()
    (folder / "sub/a").touch()
    assert flat.after(2.0) == []
    assert deep.after(2.0) == ["created sub/a"]
    flat.stop()
    deep.stop()


def test_a_folder_that_is_not_there_is_logged_once_and_looked_for_again(tmp_path):
    with Log() as log:
        watched = Watched(tmp_path / "later", Kernel())
        watched.after(2.0, 2.0)
        (tmp_path / "later").mkdir()
        (tmp_path / "later/a").touch()
        assert watched.after(2.0) == ["created a"]
    assert log.lines == [
        f"source x: {tmp_path}/later is not there; it is tried again",
        f"source x: {tmp_path}/later is there",
    ]
    watched.stop()


def test_a_folder_that_vanishes_takes_its_files_with_it_and_is_looked_for_again(folder):
    kernel = Kernel()
    with Log() as log:
        watched = Watched(folder, kernel)
        watched.after(0.1)
        (folder / "old").unlink()
        folder.rmdir()
        kernel.wake()
        assert watched.after(0.1) == ["deleted old"]
        assert kernel.followed == {}
        folder.mkdir()
        (folder / "new").touch()
        assert watched.after(2.0) == ["deleted old", "created new"]
        assert set(kernel.followed) == {str(folder)}
    assert [line.rpartition(str(folder))[2] for line in log.lines] == [" is not there; it is tried again", " is there"]
    watched.stop()


def test_a_folder_that_can_not_be_read_for_a_while_has_not_lost_its_files(folder):
    answers = [fail(OSError(24, "Too many open files"))] * 2

    def aside(call: Any) -> Deferred[Any]:
        return answers.pop() if hurts and answers else at_once(call)

    hurts = False
    with Log() as log:
        watched = Watched(folder, aside=aside)
        hurts = True
        assert watched.after(2.0, 2.0, 2.0) == []
    assert log.lines == [
        f"source x: {folder} can not be watched: [Errno 24] Too many open files; it is tried again",
        f"source x: {folder} is there",
    ]
    watched.stop()


def test_a_folder_with_too_many_files_is_not_watched_until_they_are_fewer(folder):
    (folder / "a").touch()
    with Log() as log:
        watched = Watched(folder, most=3)
        (folder / "b").touch()
        assert watched.after(2.0) == []
        (folder / "a").unlink()
        assert watched.after(2.0) == ["deleted a", "created b"]
    assert log.lines[0].endswith("can not be watched: there are more than 3 files and folders in it; it is tried again")
    watched.stop()


def test_a_change_that_is_refused_is_told_as_soon_as_it_is_accepted(folder):
    kernel, stage = Kernel(), Stage(channels=1)
    now(stage.hub.publish(draft("other", b"1")))
    watched = Watched(folder, kernel, stage=stage)
    watched.after(0.1)
    (folder / "new").touch()
    kernel.wake()
    assert watched.after(0.1, 2.0, 2.0) == []
    now(stage.hub.forget("other"))
    assert watched.after(2.0) == ["created new"]
    watched.stop()


def test_the_kernels_word_makes_it_look_once_changes_have_gathered(folder):
    kernel = Kernel()
    watched = Watched(folder, kernel)
    watched.after(0.1)
    (folder / "a").touch()
    assert watched.after(2.0, 2.0) == []
    kernel.wake()
    (folder / "b").touch()
    kernel.wake()
    assert watched.after(0.09) == []
    listening = kernel.listening
    assert watched.after(0.01) == ["created a", "created b"]
    assert kernel.listening == listening + 1
    watched.stop()


def test_what_stirs_while_it_looks_takes_another_look(folder):
    kernel, looks = Kernel(), []

    def aside(call: Any) -> Deferred[Any]:
        looks.append(at_once(call))
        if len(looks) == 2:
            (folder / "late").touch()
            kernel.wake()
        return looks[-1]

    watched = Watched(folder, kernel, aside=aside)
    assert watched.after(0.1) == []
    assert watched.after(0.1) == ["created late"]
    assert len(looks) == 3
    assert watched.after(1.0) == ["created late"]
    assert len(looks) == 3
    watched.stop()


def test_what_comes_to_a_new_folder_before_it_is_followed_is_found(folder, monkeypatch):
    kernel = Kernel()
    follow = kernel.follow

    def late(folders: Mapping[str, int]) -> Iterator[str]:
        for path in follow(folders):
            (folder / "sub/a").touch()
            yield path

    watched = Watched(folder, kernel, recursive=True)
    watched.after(0.1)
    (folder / "sub").mkdir()
    monkeypatch.setattr(kernel, "follow", late)
    kernel.wake()
    assert watched.after(0.1) == []
    assert watched.after(0.1) == ["created sub/a"]
    watched.stop()


def test_it_looks_once_a_minute_where_the_kernel_is_silent(folder):
    watched = Watched(folder, Kernel())
    watched.after(0.1)
    (folder / "a").touch()
    assert watched.after(59.9) == []
    assert watched.after(0.1, 0.1) == ["created a"]
    watched.stop()


@pytest.mark.parametrize("kernel", [None, Kernel()], ids=["polling", "told"])
def test_a_look_that_takes_long_is_followed_by_a_longer_rest(folder, kernel):
    stage, looks = Stage(), []

    def slow(call: Any) -> Deferred[Any]:
        looks.append(stage.clock.seconds())
        answer: Deferred[Any] = Deferred()
        stage.clock.callLater(1.0, lambda: answer.callback(at_once(call).result))
        return answer

    watched = Watched(folder, kernel, aside=slow, stage=stage)
    for _ in range(30):
        watched.source._stir()
        watched.after(0.5)
    assert looks == [0, 5, 10, 15]
    watched.after(1.0)
    watched.stop()


@pytest.mark.parametrize("error", [ImportError("no inotify"), OSError("too many")])
def test_without_the_kernel_it_looks_at_each_interval_and_says_so(folder, error):
    def none(_: object) -> Any:
        raise error

    with Log() as log:
        watched = Watched(folder, none)
        (folder / "a").touch()
        assert watched.after(2.0) == ["created a"]
    assert log.lines == [f"source x: looks at {folder} each 2.0 s, since inotify is not to be had: {error}"]
    watched.stop()


def test_a_folder_that_the_kernel_does_not_follow_is_looked_at_at_each_interval(folder):
    kernel = Kernel()
    kernel.refuses = True
    with Log() as log:
        watched = Watched(folder, kernel)
        (folder / "a").touch()
        assert watched.after(2.0) == ["created a"]
    assert kernel.closed == 1
    assert len(log.lines) == 1
    watched.stop()


def test_many_new_folders_are_followed_in_slices(folder):
    for number in range(250):
        (folder / str(number)).mkdir()
    kernel = Kernel()
    watched = Watched(folder, kernel, recursive=True, most=1000)
    assert len(kernel.followed) == 100
    watched.after(0)
    assert len(kernel.followed) == 251
    watched.stop()


def test_a_stop_closes_the_kernels_ear_and_a_new_start_knows_what_was_told(folder):
    kernel = Kernel()
    watched = Watched(folder, kernel)
    watched.after(0.1)
    watched.stop()
    assert kernel.closed == 1
    (folder / "a").touch()
    watched.start()
    assert kernel.made == 2
    assert watched.told == ["created a"]
    watched.stop()


def test_twisteds_inotify_is_imported_only_when_it_is_wanted(monkeypatch):
    monkeypatch.setitem(sys.modules, "pushd.sources.inotify", None)
    make = by_inotify(object())
    with pytest.raises(ImportError):
        make(lambda: None)
