"""A disk that is full or fails: only stored messages are acknowledged, reads continue, and the backend recovers."""

import os
import shutil
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from pushd.backends.interface import BackendUnusable
from pushd.backends.sqlite import backend, history_file, writer_thread
from pushd.core.cursor import MessageId
from pushd.core.errors import Overloaded, StorageFailed, TooManyChannels
from pushd.core.message import Draft, Message, draft
from tests.backends.sqlite_harness import SqliteHarness, data

LARGE = b"x" * 100_000


@pytest.fixture(autouse=True)
def fast_retries(monkeypatch):
    """Retry without long waits."""
    monkeypatch.setattr(writer_thread, "_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(writer_thread, "_MAX_RETRY_SECONDS", 0.05)


def fill_disk(harness, monkeypatch):
    """Fill the disk: SQLite cannot grow the file, and other files cannot be written."""
    harness.backend._threads._writer_thread._writer.db.execute("PRAGMA max_page_count = 1")
    monkeypatch.setattr(harness.backend._threads._directory, "check_space", raise_disk_full)


def raise_disk_full():
    raise OSError(28, os.strerror(28))


def test_publishes_are_refused_while_the_disk_is_full_and_accepted_afterwards(sqlite, monkeypatch):
    harness = sqlite()
    first = harness.publish("a", b"1")
    with monkeypatch.context() as patch:
        fill_disk(harness, patch)
        (refusal,) = harness.publish_all(draft("a", LARGE))
        assert isinstance(refusal, StorageFailed)
        assert "the disk is full" in str(refusal)
        assert harness.health_reasons == ["the disk is full"]
        refusals = harness.publish_all(draft("a", b"2"), draft("b", b"3"))
        assert [type(each) for each in refusals] == [StorageFailed, StorageFailed]
        with pytest.raises(StorageFailed):
            harness.delete("a")
        assert [each.id for each in harness.delivered] == [first.id]
        assert data(harness.stored()) == [b"1"]
        assert harness.open("a", harness.cursor_at(1)).gaps == ()
    harness.wait_until(lambda: harness.health_reasons[-1] is None)
    second = harness.publish("a", b"4")
    assert second.seq == 2, "the sequence of a refused message is assigned again"
    assert second.prev == first.id
    harness.restart()
    assert data(harness.stored()) == [b"1", b"4"]


def test_all_messages_of_a_failed_commit_are_refused(sqlite, monkeypatch):
    harness = sqlite()
    fill_disk(harness, monkeypatch)
    answers = harness.publish_all(*[draft(f"c/{number}", LARGE) for number in range(5)])
    assert {type(each) for each in answers} == {StorageFailed}
    assert harness.clock.wait(harness.backend.usage())[:3] == (0, 0, 0)
    assert harness.delivered == []


def test_usage_counts_successful_and_failed_commits(sqlite, monkeypatch):
    harness = sqlite()
    harness.publish("a")
    before = harness.clock.wait(harness.backend.usage()).disk
    assert (before.commits, before.failures, before.pending) == (1, 0, 0)
    assert before.bytes >= harness.file.stat().st_size
    fill_disk(harness, monkeypatch)
    harness.publish_all(draft("a", LARGE))
    after = harness.clock.wait(harness.backend.usage()).disk
    assert (after.commits, after.failures) == (1, 1)


def test_internal_error_of_the_writer_refuses_one_commit_and_is_logged(sqlite, monkeypatch, expected_failures):
    harness = sqlite()
    writer = harness.backend._threads._writer_thread._writer
    monkeypatch.setattr(writer, "_accept", lambda *_: 1 / 0)
    (refusal,) = harness.publish_all(draft("a", b"x"))
    assert isinstance(refusal, StorageFailed)
    assert len(expected_failures) == 1
    harness.wait_until(lambda: harness.health_reasons[-1] is None)
    assert harness.publish("a").seq == 1


def test_history_is_readable_when_the_disk_is_full_at_the_start(sqlite, monkeypatch):
    harness = sqlite(sync="normal")
    harness.publish("a", b"1")
    harness.stop()

    begin_run = history_file._begin_run
    with monkeypatch.context() as patch:

        def fail(directory, db, sync):
            raise sqlite3.OperationalError("database or disk is full")

        patch.setattr(history_file, "_begin_run", fail)
        harness.start()
        assert harness.health_reasons == ["database or disk is full"]
        assert data(harness.stored()) == [b"1"]
        assert isinstance(harness.publish_all(draft("a", b"2"))[0], StorageFailed)
        assert history_file._begin_run is not begin_run
    harness.wait_until(lambda: harness.health_reasons[-1] is None)
    assert harness.publish("a", b"3").seq == 2


# The lock


def test_second_backend_on_a_directory_is_refused(sqlite):
    harness = sqlite()
    second = SqliteHarness(harness.directory)
    with pytest.raises(
        BackendUnusable, match=rf"{harness.directory} is in use by another pushd \(process {os.getpid()}\)"
    ):
        second.start()
    assert harness.publish("a").seq == 1
    harness.stop()
    second.start()
    second.stop()


def test_impossible_directory_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in ("file/data", "not/there/data", "file"):
        with pytest.raises(BackendUnusable, match=str(tmp_path / path)):
            SqliteHarness(tmp_path / path).start()


# Queues


def test_publishes_beyond_the_waiting_limit_are_refused_as_overloaded(sqlite, monkeypatch):
    harness = sqlite()
    monkeypatch.setattr(backend, "_MAX_WAITING", 5)
    monkeypatch.setattr(backend, "_MAX_WAITING_BYTES", 1000)
    waiting = [harness.backend.publish([draft("a", b"x" * 10)] * 2) for _ in range(4)]
    from twisted.internet.defer import Deferred

    results: list[list[Any]] = [[] for _ in waiting]
    for coroutine, result in zip(waiting, results, strict=True):
        Deferred.fromCoroutine(coroutine).addBoth(result.append)
    harness.wait_until(lambda: all(results))
    kinds = [{type(answer) for answer in result[0]} for result in results]
    assert kinds == [{Message}, {Message}, {Overloaded}, {Overloaded}]
    assert isinstance(harness.publish_all(draft("a", b"x" * 5000))[0], Message), (
        "a single request is accepted whatever its size"
    )
    assert harness.clock.wait(harness.backend.usage()).disk.pending == 0


def test_pending_publishes_are_committed_at_the_stop(sqlite):
    from twisted.internet.defer import Deferred

    harness = sqlite()
    answers: list[object] = []

    async def publish(message: Draft) -> None:
        answers.extend(await harness.backend.publish([message]))

    for number in range(50):
        Deferred.fromCoroutine(publish(draft("a", b"%d" % number)))
    harness.stop()
    assert [type(each) for each in answers] == [Message] * 50
    harness.start()
    assert data(harness.stored()) == [b"%d" % number for number in range(50)]


def test_concurrent_publishes_share_commits(sqlite, monkeypatch):
    from twisted.internet.defer import Deferred

    harness = sqlite()
    answers: list[object] = []
    all_wait = threading.Event()
    thread = harness.backend._threads._writer_thread
    commit = thread._commit
    monkeypatch.setattr(thread, "_commit", lambda *arguments: all_wait.wait() and commit(*arguments))

    async def publish(message: Draft) -> None:
        answers.extend(await harness.backend.publish([message]))

    for number in range(500):
        Deferred.fromCoroutine(publish(draft(f"c/{number % 7}", b"x")))
    all_wait.set()
    harness.wait_until(lambda: len(answers) == 500)
    assert harness.clock.wait(harness.backend.usage()).disk.commits <= 3


def test_one_refusal_in_a_commit_does_not_affect_other_messages(sqlite):
    harness = sqlite(channels=1)
    answers = harness.publish_all(draft("a", b"1"), draft("b", b"2"), draft("a", b"3"))
    assert [type(each) for each in answers] == [Message, TooManyChannels, Message]
    assert harness.open("a", MessageId(harness.epoch, 0)).gaps == ()


def test_stopped_backend_leaves_no_open_files(sqlite, tmp_path):
    harness = sqlite()
    harness.publish("a")
    harness.stored()
    harness.stop()
    assert sorted(part.name for part in harness.directory.iterdir()) == ["history.sqlite", "lock", "newest"]
    assert not [
        link for link in map(os.path.realpath, Path("/proc/self/fd").glob("*")) if str(harness.directory) in link
    ]
    shutil.rmtree(harness.directory)
    harness.start()
