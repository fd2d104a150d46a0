"""Members outlast a restart, and the file always has them as a replay of their events does."""

import json
import sqlite3
from contextlib import closing

import pytest

from pushd.backends.sqlite.member_rows import read_members
from pushd.backends.sqlite.schema import migrate
from pushd.core.errors import StorageFailed
from pushd.core.presence import EndLease, Enter, Leave, Renew
from tests.backends.contract_presence import replay

GRACE = 15.0


def apply(harness, *changes):
    """Apply changes."""
    harness.clock.wait(harness.backend.presence.apply(changes))


def listed(harness, channel="c"):
    """Return the listed members, each with its meta."""
    page = harness.clock.wait(harness.backend.presence.members(channel, "", 10_000)).page
    return {member.id: json.loads(member.meta) for member in page.members}


def replayed(harness, channel="c"):
    """Return the members after all events."""
    return replay([json.loads(message.data) for message in harness.stored(f"$presence/{channel}")])


def pass_time(harness, seconds):
    """Let time pass, and wait until what follows from it is stored."""
    harness.clock.advance(seconds)
    harness.publish("flush")


def test_members_of_the_previous_run_are_in_grace(sqlite):
    harness = sqlite()
    apply(harness, Enter("c", "a", b"1"), Enter("c", "b"), Enter("c", "b"), Enter("c", "left"))
    apply(harness, Renew("c", "leased", 60, b"2", lag=3), Leave("c", "left", "client", is_final=True))
    harness.restart()
    assert listed(harness) == replayed(harness) == {"a": 1, "b": None, "leased": 2}
    apply(harness, Enter("c", "a"))
    pass_time(harness, GRACE)
    assert listed(harness) == replayed(harness) == {"a": 1, "leased": 2}
    seen = harness.clock.wait(harness.backend.presence.seen("c", "left"))
    assert not seen.is_online
    pass_time(harness, 60)
    assert listed(harness) == replayed(harness) == {"a": 1}


def test_renewed_lease_outlasts_a_restart(sqlite):
    harness = sqlite()
    apply(harness, Renew("c", "a", 20))
    pass_time(harness, 15)
    apply(harness, Renew("c", "a", 100))
    pass_time(harness, 1.5)
    harness.publish("flush")
    harness.restart()
    pass_time(harness, 50)
    assert listed(harness) == {"a": None}
    pass_time(harness, 50)
    assert listed(harness) == replayed(harness) == {}


def test_crash_between_a_change_and_its_diff(sqlite):
    harness = sqlite()
    apply(harness, *[Enter("c", f"{number:02}") for number in range(30)])
    apply(harness, Leave("c", "00", "client", is_final=True), Renew("c", "01", 100))
    harness.publish("flush")
    harness.backend.presence.save()
    harness.publish("flush")
    copy = harness.crash()
    assert listed(copy) == replayed(copy)
    assert len(listed(copy)) == 20
    pass_time(harness, 1)
    assert listed(harness) == replayed(harness)
    assert len(listed(harness)) == 29


def test_change_that_cannot_be_stored_is_sent_when_it_can(sqlite, monkeypatch):
    harness = sqlite()
    apply(harness, Enter("c", "a"))
    writer = harness.backend._threads._writer_thread._writer
    monkeypatch.setattr(writer, "commit", lambda requests: (_ for _ in ()).throw(sqlite3.OperationalError("full")))
    apply(harness, Enter("c", "b"))
    apply(harness, Leave("c", "a", "client", is_final=True))
    with pytest.raises(StorageFailed):
        apply(harness, Enter("c", "refused"))
    assert listed(harness) == {"b": None}
    harness.wait_until(lambda: harness.backend._unavailable_reason is None)
    for _ in range(3):
        pass_time(harness, 1)
    assert listed(harness) == replayed(harness) == {"b": None}
    harness.restart()
    assert listed(harness) == {"b": None}


def test_lease_that_cannot_be_stored_is_refused(sqlite, monkeypatch):
    harness = sqlite()
    writer = harness.backend._threads._writer_thread._writer
    monkeypatch.setattr(writer, "commit", lambda requests: (_ for _ in ()).throw(sqlite3.OperationalError("full")))
    with pytest.raises(StorageFailed):
        apply(harness, Renew("c", "b", 30))


def test_rows_of_members_that_left_are_deleted_after_a_day(sqlite):
    harness = sqlite()
    apply(harness, Renew("c", "a", 20), EndLease("c", "a"))
    assert harness.sql("SELECT id, gone IS NULL FROM member") == [("a", 0)]
    apply(harness, Enter("c", "b"))
    pass_time(harness, 24 * 3600)
    apply(harness, Enter("c", "d"))
    pass_time(harness, 1.1)
    harness.publish("flush")
    assert harness.sql("SELECT id, gone IS NULL FROM member ORDER BY id") == [("b", 1), ("d", 1)]


def test_file_of_an_older_version_gets_the_table():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrate(db, "E", 0.0, 6)
        migrate(db, "E", 0.0)
        assert read_members(db) == []


def test_damaged_rows_are_left_out():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrate(db, "E", 0.0)
        for channel, id, meta in (("c", "a", b"1"), ("c c", "a", None), ("c", "", None), ("c", "b", b"{")):
            db.execute("INSERT INTO member (channel, id, since, meta) VALUES (?, ?, 0, ?)", (channel, id, meta))
        assert [row.id for row in read_members(db)] == ["a"]
