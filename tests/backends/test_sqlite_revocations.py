"""Revocations outlast a restart and damage of the file, and an older file can keep them."""

import sqlite3
from contextlib import closing

from pushd.backends.sqlite.revocation_rows import readable_revocations
from pushd.backends.sqlite.schema import migrate
from tests.backends.contract_revocations import FAR, revocation


def revoke(harness, *revocations):
    """Revoke each of some."""
    for each in revocations:
        harness.clock.wait(harness.backend.revoke(each))


def test_revocations_outlast_a_restart_and_a_crash(sqlite):
    harness = sqlite()
    revoke(harness, revocation(), revocation("é\u2028", reason="x"), revocation(before=2000), revocation(before=3))
    copy = harness.crash()
    assert {each.value: each.before for each in copy.revocations} == {"alice": 2000, "é\u2028": 1000}
    copy.stop()
    harness.restart()
    assert {each.value: each.before for each in harness.revocations} == {"alice": 2000, "é\u2028": 1000}


def test_expired_revocations_are_deleted(sqlite):
    harness = sqlite()
    past = int(harness.clock.wall()) - 1
    revoke(harness, revocation(until=past))
    revoke(harness, revocation("bob"))
    harness.stop()
    with closing(sqlite3.connect(harness.file)) as db:
        assert db.execute("SELECT value FROM revocation").fetchall() == [("bob",)]
    harness.start()


def test_revocations_outlast_damage_of_the_messages(sqlite):
    harness = sqlite()
    harness.publish_each("aab")
    revoke(harness, revocation(), revocation("bob"))
    harness.stop()
    with closing(sqlite3.connect(harness.file)) as db:
        db.execute("UPDATE message SET data = x'00' WHERE seq = 1")
        db.commit()
    harness.start()
    assert {each.value for each in harness.revocations} == {"alice", "bob"}
    harness.restart()
    assert {each.value for each in harness.revocations} == {"alice", "bob"}


def test_file_of_an_older_version_gets_the_table():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrate(db, "E", 0.0, 4)
        assert list(readable_revocations(db)) == []
        migrate(db, "E", 0.0)
        assert db.execute("SELECT * FROM revocation").fetchall() == []


def test_rows_with_values_of_other_types_are_left_out():
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE revocation (kind, value, issued_before, until, created, reason)")
        rows = [
            tuple(revocation()),
            ("role", "x", 1, FAR, 1, ""),
            ("sub", b"x", 1, FAR, 1, ""),
            ("sub", "x", "1", 1, 1, ""),
        ]
        db.executemany("INSERT INTO revocation VALUES (?, ?, ?, ?, ?, ?)", rows)
        assert set(readable_revocations(db)) == {revocation()}
