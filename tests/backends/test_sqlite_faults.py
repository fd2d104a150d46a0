"""A disk that is full or fails: nothing is acknowledged that is not kept, who listens stays, and it heals by itself."""

import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from pushd.backends.interface import BackendUnusable
from pushd.backends.sqlite import backend, history_file, writer_thread
from pushd.core.cursor import MessageId
from pushd.core.errors import Overloaded, StorageFailed, TooManyChannels
from pushd.core.message import Draft, Message, draft
from tests.backends.sqlite_harness import DiskStore, data

LARGE = b"x" * 100_000


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Try again soon."""
    monkeypatch.setattr(writer_thread, "_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(writer_thread, "_MAX_RETRY_SECONDS", 0.05)


def fill_up(store, monkeypatch):
    """Let the disk be full: SQLite may not make the file larger, and there is no room for anything else."""
    store.backend._threads._writer_thread._writer.db.execute("PRAGMA max_page_count = 1")
    monkeypatch.setattr(store.backend._threads._directory, "check_space", full)


def full():
    raise OSError(28, os.strerror(28))


def test_publishes_are_refused_while_the_disk_is_full_and_accepted_when_it_is_not(disk, monkeypatch):
    store = disk()
    first = store.publish("a", b"1")
    with monkeypatch.context() as patch:
        fill_up(store, patch)
        (refusal,) = store.try_all(draft("a", LARGE))
        assert isinstance(refusal, StorageFailed)
        assert "the disk is full" in str(refusal)
        assert store.health_reasons == ["the disk is full"]
        refusals = store.try_all(draft("a", b"2"), draft("b", b"3"))
        assert [type(each) for each in refusals] == [StorageFailed, StorageFailed]
        with pytest.raises(StorageFailed):
            store.forget("a")
        assert [each.id for each in store.heard] == [first.id]
        assert data(store.kept()) == [b"1"]
        assert store.open("a", store.at(1)).gaps == ()
    store.until(lambda: store.health_reasons[-1] is None)
    second = store.publish("a", b"4")
    assert second.seq == 2, "a sequence that nobody has heard is not lost"
    assert second.prev == first.id
    store.restart()
    assert data(store.kept()) == [b"1", b"4"]


def test_all_that_waits_together_is_refused_together(disk, monkeypatch):
    store = disk()
    fill_up(store, monkeypatch)
    answers = store.try_all(*[draft(f"c/{number}", LARGE) for number in range(5)])
    assert {type(each) for each in answers} == {StorageFailed}
    assert store.clock.wait(store.backend.usage())[:3] == (0, 0, 0)
    assert store.heard == []


def test_the_figures_tell_of_commits_and_of_those_that_failed(disk, monkeypatch):
    store = disk()
    store.publish("a")
    before = store.clock.wait(store.backend.usage()).disk
    assert (before.commits, before.failures, before.pending) == (1, 0, 0)
    assert before.bytes >= store.file.stat().st_size
    fill_up(store, monkeypatch)
    store.try_all(draft("a", LARGE))
    after = store.clock.wait(store.backend.usage()).disk
    assert (after.commits, after.failures) == (1, 1)


def test_a_bug_of_the_writer_refuses_one_group_and_is_logged(disk, monkeypatch, expected_failures):
    store = disk()
    writer = store.backend._threads._writer_thread._writer
    monkeypatch.setattr(writer, "_accept", lambda *_: 1 / 0)
    (refusal,) = store.try_all(draft("a", b"x"))
    assert isinstance(refusal, StorageFailed)
    assert len(expected_failures) == 1
    store.until(lambda: store.health_reasons[-1] is None)
    assert store.publish("a").seq == 1


def test_a_file_that_is_taken_away_is_noticed_and_nothing_more_is_acknowledged(disk):
    store = disk()
    store.publish("a")
    store.file.unlink()
    store.clock.advance(1.0)
    store.until(lambda: store.health_reasons)
    assert "removed or replaced" in store.health_reasons[0]
    assert isinstance(store.try_all(draft("a", b"x"))[0], StorageFailed)


def test_a_disk_that_is_full_at_the_start_lets_others_read(disk, monkeypatch):
    store = disk(sync="normal")
    store.publish("a", b"1")
    store.stop()

    begin_run = history_file._begin_run
    with monkeypatch.context() as patch:

        def fail(db, sync):
            raise sqlite3.OperationalError("database or disk is full")

        patch.setattr(history_file, "_begin_run", fail)
        store.start()
        assert store.health_reasons == ["database or disk is full"]
        assert data(store.kept()) == [b"1"]
        assert isinstance(store.try_all(draft("a", b"2"))[0], StorageFailed)
        assert history_file._begin_run is not begin_run
    store.until(lambda: store.health_reasons[-1] is None)
    assert store.publish("a", b"3").seq == 2


# Who may open it


def test_a_second_store_on_the_directory_is_refused_with_a_sentence(disk):
    store = disk()
    second = DiskStore(store.directory)
    with pytest.raises(
        BackendUnusable, match=rf"{store.directory} is in use by another pushd \(process {os.getpid()}\)"
    ):
        second.start()
    assert store.publish("a").seq == 1
    store.stop()
    second.start()
    second.stop()


def test_a_directory_that_can_not_be_is_refused_with_a_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in ("file/data", "not/there/data", "file"):
        with pytest.raises(BackendUnusable, match=str(tmp_path / path)):
            DiskStore(tmp_path / path).start()


# Queues


def test_more_than_may_wait_is_refused_with_a_name(disk, monkeypatch):
    store = disk()
    monkeypatch.setattr(backend, "_MAX_WAITING", 5)
    monkeypatch.setattr(backend, "_MAX_WAITING_BYTES", 1000)
    waiting = [store.backend.publish([draft("a", b"x" * 10)] * 2) for _ in range(4)]
    from twisted.internet.defer import Deferred

    results: list[list[Any]] = [[] for _ in waiting]
    for coroutine, result in zip(waiting, results, strict=True):
        Deferred.fromCoroutine(coroutine).addBoth(result.append)
    store.until(lambda: all(results))
    kinds = [{type(answer) for answer in result[0]} for result in results]
    assert kinds == [{Message}, {Message}, {Overloaded}, {Overloaded}]
    assert isinstance(store.try_all(draft("a", b"x" * 5000))[0], Message), "one alone has room whatever its size"
    assert store.clock.wait(store.backend.usage()).disk.pending == 0


def test_what_waits_at_the_stop_is_committed(disk):
    from twisted.internet.defer import Deferred

    store = disk()
    answers: list[object] = []

    async def publish(message: Draft) -> None:
        answers.extend(await store.backend.publish([message]))

    for number in range(50):
        Deferred.fromCoroutine(publish(draft("a", b"%d" % number)))
    store.stop()
    assert [type(each) for each in answers] == [Message] * 50
    store.start()
    assert data(store.kept()) == [b"%d" % number for number in range(50)]


def test_many_that_wait_need_few_commits(disk):
    from twisted.internet.defer import Deferred

    store = disk()
    answers: list[object] = []

    async def publish(message: Draft) -> None:
        answers.extend(await store.backend.publish([message]))

    for number in range(500):
        Deferred.fromCoroutine(publish(draft(f"c/{number % 7}", b"x")))
    store.until(lambda: len(answers) == 500)
    assert store.clock.wait(store.backend.usage()).disk.commits <= 3


def test_one_refusal_among_many_that_wait_is_its_own(disk):
    store = disk(channels=1)
    answers = store.try_all(draft("a", b"1"), draft("b", b"2"), draft("a", b"3"))
    assert [type(each) for each in answers] == [Message, TooManyChannels, Message]
    assert store.open("a", MessageId(store.epoch, 0)).gaps == ()


def test_a_store_that_is_stopped_keeps_nothing_open(disk, tmp_path):
    store = disk()
    store.publish("a")
    store.kept()
    store.stop()
    assert sorted(part.name for part in store.directory.iterdir()) == ["history.sqlite", "lock"]
    assert not [link for link in map(os.path.realpath, Path("/proc/self/fd").glob("*")) if str(store.directory) in link]
    shutil.rmtree(store.directory)
    store.start()
