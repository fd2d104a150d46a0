"""Files that another program removes, replaces or truncates: nothing more is acknowledged, and no id is used twice."""

import os
import shutil

import pytest
from twisted.logger import capturedLogs

from pushd.backends.interface import BackendUnusable
from pushd.backends.sqlite import writer_thread
from pushd.backends.sqlite.history_check import check_history
from pushd.core.cursor import MessageId
from pushd.core.errors import StorageFailed
from pushd.core.message import Message, draft
from tests.backends.sqlite_harness import SqliteHarness, data


@pytest.fixture(autouse=True)
def fast_retries(monkeypatch):
    """Retry without long waits."""
    monkeypatch.setattr(writer_thread, "_RETRY_SECONDS", 0.05)
    monkeypatch.setattr(writer_thread, "_MAX_RETRY_SECONDS", 0.05)


def remove(file):
    """Remove a file."""
    file.unlink()


def replace(file):
    """Replace a file by a copy."""
    copy = file.with_name("copy")
    shutil.copyfile(file, copy)
    copy.rename(file)


def truncate(file):
    """Truncate a file to nothing."""
    os.truncate(file, 0)


def halve(file):
    """Truncate a file in its middle."""
    os.truncate(file, file.stat().st_size // 2)


# Not a truncated index: SQLite maps it into memory, so that ends the process.
FAULTS = [
    (remove, "history.sqlite", "removed"),
    (replace, "history.sqlite", "replaced"),
    (truncate, "history.sqlite", "truncated"),
    (remove, "history.sqlite-wal", "removed"),
    (replace, "history.sqlite-wal", "replaced"),
    (truncate, "history.sqlite-wal", "truncated"),
    (halve, "history.sqlite-wal", "truncated"),
    (remove, "history.sqlite-shm", "removed"),
    (replace, "history.sqlite-shm", "replaced"),
]
faults = pytest.mark.parametrize(
    ("damage", "name", "fate"), FAULTS, ids=[f"{each.__name__} {name}" for each, name, _ in FAULTS]
)


@faults
def test_publishes_are_refused_at_once_and_until_a_restart(sqlite, damage, name, fate):
    harness = sqlite()
    harness.publish_each("abc")
    damage(harness.directory / name)
    (refusal,) = harness.publish_all(draft("a", b"x"))
    assert isinstance(refusal, StorageFailed)
    assert f"{name} was {fate} while pushd was running; restart pushd" in str(refusal)
    with pytest.raises(StorageFailed):
        harness.delete("a")
    harness.wait_until(lambda: len(harness.health_reasons) > 2)  # the writer tried to open the file again
    assert None not in harness.health_reasons
    assert [each.data for each in harness.delivered] == [b"x"] * 3


@faults
def test_fault_is_noticed_without_a_publish(sqlite, damage, name, fate):
    harness = sqlite()
    harness.publish("a")
    damage(harness.directory / name)
    harness.clock.advance(1.0)
    harness.wait_until(lambda: harness.health_reasons)
    assert f"was {fate}" in harness.health_reasons[0]


@faults
@pytest.mark.parametrize("is_noticed", [True, False])
@pytest.mark.parametrize("is_killed", [True, False])
def test_next_start_assigns_no_id_twice(sqlite, damage, name, fate, is_noticed, is_killed):
    harness = sqlite()
    sent = harness.publish_each("aabbcc")
    old = harness.epoch
    damage(harness.directory / name)
    if is_noticed:
        harness.publish_all(draft("a", b"refused"))
    again = harness.crash() if is_killed else harness.restart()
    try:
        kept = again.stored()
        assert not any(message.data == b"refused" for message in kept)
        new = again.publish("a", b"new")
        assert new.id not in {message.id for message in sent}
        if is_noticed or len(kept) < len(sent):
            assert again.epoch != old
            (gap,) = again.open("a", MessageId(old, 6)).gaps
            assert gap.reason == "epoch"
        again.restart()
        assert data(again.stored("a"))[-1] == b"new"
    finally:
        again.stop()


def test_message_of_the_commit_during_which_the_log_was_removed_is_refused(sqlite, monkeypatch):
    harness = sqlite()
    harness.publish("a")
    writer = harness.backend._threads._writer_thread._writer
    commit = writer.commit

    def commit_and_remove(requests):
        result = commit(requests)
        (harness.directory / "history.sqlite-wal").unlink()
        return result

    monkeypatch.setattr(writer, "commit", commit_and_remove)
    assert isinstance(harness.publish_all(draft("a", b"x"))[0], StorageFailed)
    assert len(harness.delivered) == 1


def test_failed_read_is_followed_by_a_check_of_the_files(sqlite):
    harness = sqlite()
    harness.publish("a")
    (harness.directory / "history.sqlite-wal").unlink()
    with pytest.raises(StorageFailed):
        harness.clock.wait(harness.backend.info("a"))
    harness.wait_until(lambda: harness.health_reasons)
    assert "history.sqlite-wal was" in harness.health_reasons[0]


def test_older_copy_begins_a_new_epoch(sqlite, tmp_path):
    harness = sqlite()
    harness.publish("a", b"1")
    harness.stop()
    shutil.copyfile(harness.file, tmp_path / "backup")
    harness.start()
    lost = harness.publish("a", b"2")
    harness.stop()
    shutil.copyfile(tmp_path / "backup", harness.file)
    harness.start()
    assert data(harness.stored()) == [b"1"]
    assert harness.epoch not in lost.id
    epoch = harness.epoch
    harness.restart()
    assert harness.epoch == epoch, "the new epoch continues"


def test_check_reports_missing_commits(sqlite):
    harness = sqlite()
    harness.publish("a")
    harness.restart()
    assert check_history(str(harness.directory)).startswith("the history is intact")
    harness.publish("a")
    assert check_history(str(harness.directory)).startswith("the history is intact")
    again = harness.crash()
    again.stop()
    again.sql("UPDATE log SET seq = 1")
    assert "ends before the newest acknowledged message" in check_history(str(again.directory))


def test_lost_deletion_begins_a_new_epoch(sqlite):
    harness = sqlite()
    harness.publish("a")
    harness.restart()
    epoch = harness.epoch
    harness.clock.rightNow += 1
    harness.delete("a")
    (harness.directory / "history.sqlite-wal").unlink()
    again = harness.crash()
    try:
        assert len(again.stored()) == 1
        assert again.epoch != epoch
    finally:
        again.stop()


@pytest.mark.parametrize("has_messages", [True, False])
def test_history_that_is_empty_without_a_reason_is_warned_of(sqlite, has_messages):
    harness = sqlite()
    if has_messages:
        harness.publish("a")
    harness.stop()
    harness.file.unlink()
    with capturedLogs() as events:
        harness.start()
    warnings = [event["sentence"] for event in events if "sentence" in event]
    assert [
        "is empty, though an earlier run acknowledged messages; starting a new epoch" in each for each in warnings
    ] == [True] * has_messages


@pytest.mark.parametrize("content", [b"", b"\0" * 96, b"not a mark", b"\xff"])
def test_unreadable_mark_is_ignored(sqlite, content):
    harness = sqlite()
    harness.publish("a")
    epoch = harness.epoch
    harness.stop()
    (harness.directory / "newest").write_bytes(content)
    harness.start()
    assert harness.epoch == epoch
    assert isinstance(harness.publish("a"), Message)


def test_second_backend_is_refused_after_the_lock_file_was_removed(sqlite):
    harness = sqlite()
    harness.publish("a")
    (harness.directory / "lock").unlink()
    with pytest.raises(BackendUnusable, match="is in use by another pushd"):
        SqliteHarness(harness.directory).start()
    assert harness.publish("a").seq == 2
