"""A damaged file is reported and copied, and its intact rows are kept; or the start is refused."""

import random
import re
import sqlite3
from typing import cast

import pytest
from msgspec import structs
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher

from pushd.backends.interface import BackendUnusable
from pushd.backends.sqlite import history_file, schema
from pushd.backends.sqlite.directory import connect
from pushd.backends.sqlite.history_check import check_history
from pushd.core.cursor import EVERYTHING, MessageId
from tests.backends.sqlite_harness import SqliteHarness, data


@pytest.fixture
def log_lines():
    """The lines that are logged."""
    lines = []

    def observe(event):
        lines.append(formatEvent(event))

    observer = cast(ILogObserver, observe)
    globalLogPublisher.addObserver(observer)
    yield lines
    globalLogPublisher.removeObserver(observer)


@pytest.fixture
def filled(sqlite):
    """A closed history of 600 messages in three channels; the data of each names its channel and number."""
    harness = sqlite(total_bytes=1 << 30)
    for start in range(0, 600, 50):
        harness.publish_all(*[draft_of(number) for number in range(start, start + 50)])
    harness.stop()
    return harness


def draft_of(number):
    from pushd.core.message import draft

    return draft(f"c/{number % 3}", f"c/{number % 3} {number} ".encode() * 20)


def is_intact(message):
    """Return whether a message is as it was published."""
    number = message.seq - 1
    return (message.channel, message.data) == (draft_of(number).channel, draft_of(number).data)


def flip_bit(file, offset, bit=3):
    content = bytearray(file.read_bytes())
    content[offset] ^= 1 << bit
    file.write_bytes(content)


def offset_of(file, text):
    return file.read_bytes().index(text)


def damaged_copies(harness):
    return sorted(part.name for part in harness.directory.glob("damaged-*.sqlite"))


def test_flipped_bit_in_a_message_loses_only_that_message(filled, log_lines):
    flip_bit(filled.file, offset_of(filled.file, b"c/1 301 ") + 25)
    before = filled.file.read_bytes()
    old = filled.epoch
    filled.start()
    assert [each.seq for each in filled.stored()] == [seq for seq in range(1, 601) if seq != 302]
    assert all(map(is_intact, filled.stored()))
    assert any("is damaged: message 302 fails its checksum" in line for line in log_lines)
    assert any("Recovered 599 messages in 3 channels, 1 lost" in line for line in log_lines)
    assert len(damaged_copies(filled)) == 1
    assert (filled.directory / damaged_copies(filled)[0]).read_bytes() == before
    assert filled.epoch != old
    (gap,) = filled.open("c/1", MessageId(old, 600)).gaps
    assert gap.reason == "epoch"
    assert filled.publish("c/1").seq == 601
    filled.restart()
    assert len(filled.stored()) == 600


def test_flipped_bit_in_a_channel_record_loses_no_message(filled, log_lines):
    records = filled.file.read_bytes()
    offset = records.index(b"c/2", records.index(b"c/2") - 200)
    flip_bit(filled.file, offset)
    filled.start()
    assert all(map(is_intact, filled.stored()))
    assert len(filled.stored()) == 600


@pytest.mark.parametrize("seed", range(12))
def test_flipped_bit_anywhere_never_delivers_corrupt_data(filled, log_lines, seed):
    chance = random.Random(seed)
    size = filled.file.stat().st_size
    # Every other seed damages the first pages, which hold the structure.
    offset = chance.randrange(100, 16384) if seed % 2 else chance.randrange(100, size)
    flip_bit(filled.file, offset, chance.randrange(8))
    try:
        filled.start()
    except BackendUnusable as error:
        assert str(error).startswith(str(filled.file))
        return
    stored = filled.stored()
    assert all(map(is_intact, stored))
    assert len(stored) == 600 or damaged_copies(filled)
    assert len(stored) >= 300, "intact messages are kept"
    filled.publish("new")


@pytest.mark.parametrize("share", [0.4, 0.6, 0.9])
def test_intact_messages_of_a_truncated_file_are_recovered(filled, log_lines, share):
    content = filled.file.read_bytes()
    filled.file.write_bytes(content[: int(len(content) * share)])
    filled.start()
    stored = filled.stored()
    assert all(map(is_intact, stored))
    assert share * 80 < len(stored) < 600  # the first pages are those of the tables
    assert damaged_copies(filled)
    assert any("is damaged" in line for line in log_lines)
    filled.publish("new")
    filled.restart()
    assert len(filled.stored()) == len(stored) + 1


def test_file_in_which_nothing_is_readable_is_refused_and_copied(filled):
    content = filled.file.read_bytes()[:4096]
    filled.file.write_bytes(content)
    with pytest.raises(BackendUnusable, match=f"{filled.file} is damaged, and nothing in it is readable"):
        filled.start()
    assert filled.file.read_bytes() == content
    (copy,) = damaged_copies(filled)
    assert (filled.directory / copy).read_bytes() == content


@pytest.mark.parametrize("content", [b"not a database", b"SQLite format 3\0" + bytes(5000), bytes(9000)])
def test_file_that_is_not_sqlite_is_refused_and_unchanged(tmp_path, content):
    harness = SqliteHarness(tmp_path / "data")
    harness.directory.mkdir()
    harness.file.write_bytes(content)
    with pytest.raises(BackendUnusable, match=str(harness.file)):
        harness.start()
    assert harness.file.read_bytes() == content
    with pytest.raises(BackendUnusable, match=str(harness.file)):
        check_history(str(harness.directory))


def test_empty_file_becomes_a_new_history(tmp_path):
    harness = SqliteHarness(tmp_path / "data")
    harness.directory.mkdir()
    harness.file.touch()
    harness.start()
    assert harness.publish("a").seq == 1
    harness.stop()


def test_damage_that_the_start_did_not_verify_is_found_in_the_background(filled, log_lines, monkeypatch):
    flip_bit(filled.file, offset_of(filled.file, b"c/0 3 ") + 25)
    monkeypatch.setattr(history_file, "_VERIFY_SECONDS", 0.0)
    filled.start()
    filled.wait_until(lambda: any("message 4 fails its checksum; restart pushd" in line for line in log_lines))
    stored, gaps = filled.replay_since("c/0", filled.cursor_at(0))
    assert all(map(is_intact, stored)) and len(stored) == 199
    assert [(gap.end, gap.reason) for gap in gaps] == [(f"{filled.epoch}-4", "unknown")]
    filled.stop()
    filled.start()
    assert len(filled.stored()) == 599 and damaged_copies(filled), "the next start verifies the whole file"
    filled.restart()
    assert len(damaged_copies(filled)) == 1


def test_interrupted_recovery_is_finished_by_the_next_start(filled):
    """The process was killed before the last step: the new file is complete, and the damaged one still exists."""
    content = filled.file.read_bytes()
    filled.file.write_bytes(b"no file of SQLite at all")
    (filled.directory / "history.rebuilt").write_bytes(content)
    filled.start()
    assert len(filled.stored()) == 600


# Versions


def older_files(filled, tmp_path):
    """Yield a closed history of each older version, with the content of a newer one."""
    for version in range(1, schema.VERSION):
        old = SqliteHarness(tmp_path / f"version{version}", total_bytes=1 << 30)
        old.directory.mkdir()
        db = connect(old.file, "rwc")
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        schema.migrate(db, "Old", 1000.0, target=version)
        db.execute("ATTACH ? AS filled", (str(filled.file),))
        for table in ("channel", "message"):
            columns = ", ".join(f"[{row[1]}]" for row in db.execute(f"PRAGMA main.table_info({table})"))
            db.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM filled.{table}")
        db.execute("UPDATE main.log SET seq = 600, now = 60, wall = 1060")
        db.close()
        assert f", version {version}, upgraded" in check_history(str(old.directory))
        yield old


def test_file_of_each_older_version_is_migrated_with_its_content(filled, tmp_path):
    newest = filled.sql("SELECT name, sql FROM sqlite_schema ORDER BY name")
    for old in older_files(filled, tmp_path):
        old.start()
        try:
            assert [(each.seq, each.sender) for each in old.stored()] == [(seq, None) for seq in range(1, 601)]
            (sent,) = old.publish_all(structs.replace(draft_of(0), sender="alice"))
            assert (sent.id, old.stored()[-1].sender) == ("Old-601", "alice")
        finally:
            old.stop()
        assert old.sql("SELECT name, sql FROM sqlite_schema ORDER BY name") == newest
        assert "is intact" in check_history(str(old.directory))


def test_damaged_file_of_an_older_version_loses_only_what_is_damaged(filled, tmp_path, log_lines):
    for old in older_files(filled, tmp_path):
        flip_bit(old.file, offset_of(old.file, b"c/1 301 ") + 25)
        old.start()
        try:
            assert [each.seq for each in old.stored()] == [seq for seq in range(1, 601) if seq != 302]
            assert all(map(is_intact, old.stored()))
        finally:
            old.stop()
    assert len([line for line in log_lines if "Recovered 599 messages" in line]) == schema.VERSION - 1


@pytest.mark.parametrize("field", ["sender", "event"])
@pytest.mark.parametrize("bit", [3, 7], ids=["another text", "not utf-8"])
def test_message_with_damaged_text_is_lost_alone(sqlite, log_lines, field, bit):
    harness = sqlite()
    harness.publish_all(*[structs.replace(draft_of(0), **{field: f"alice {number}"}) for number in range(20)])
    harness.stop()
    flip_bit(harness.file, offset_of(harness.file, b"alice 7"), bit)
    harness.start()
    assert [getattr(each, field) for each in harness.stored()] == [f"alice {each}" for each in range(20) if each != 7]
    assert any("Recovered 19 messages in 1 channels, 1 lost" in line for line in log_lines)
    harness.publish("new")


@pytest.mark.parametrize(
    ("pragma", "sentence"),
    [
        (f"user_version = {schema.VERSION + 1}", "was written by a newer pushd"),
        ("application_id = 7", "belongs to another program"),
    ],
)
def test_file_of_a_newer_version_or_another_program_is_refused_and_unchanged(filled, pragma, sentence):
    filled.sql(f"PRAGMA {pragma}")
    before = filled.file.read_bytes()
    for attempt in (filled.start, lambda: check_history(str(filled.directory))):
        with pytest.raises(BackendUnusable, match=f"{filled.file} {sentence}"):
            attempt()
    assert filled.file.read_bytes() == before


def test_failed_migration_changes_nothing(tmp_path, monkeypatch):
    db = connect(tmp_path / "file", "rwc")
    schema.migrate(db, "E", 1.0, target=1)
    before = db.execute("SELECT * FROM sqlite_schema").fetchall()
    monkeypatch.setattr(schema, "_STEPS", (*schema._STEPS[:2], "CREATE TABLE nonsense (;"))
    with pytest.raises(sqlite3.OperationalError):
        schema.migrate(db, "E", 1.0)
    db.rollback()
    assert db.execute("SELECT * FROM sqlite_schema").fetchall() == before
    assert schema.version_of(db) == 1
    db.close()


# --check


def test_check_reports_the_content_and_changes_nothing(filled, tmp_path):
    before = filled.file.read_bytes()
    summary = rf"the history is intact \({filled.file}: 600 messages in 3 channels, [0-9]+ bytes\)"
    assert re.fullmatch(summary, check_history(str(filled.directory)))
    assert filled.file.read_bytes() == before
    assert check_history(str(tmp_path / "new")) == f"no history yet: {tmp_path / 'new'} will be created"
    (tmp_path / "new").mkdir()
    assert check_history(str(tmp_path / "new")) == f"no history in {tmp_path / 'new'} yet"


def test_check_works_while_a_daemon_runs(filled):
    filled.start()
    filled.publish("a")
    assert "601 messages in 4 channels" in check_history(str(filled.directory))
    assert filled.publish("a").seq == 602


def test_check_reports_damage_and_repairs_nothing(filled):
    flip_bit(filled.file, offset_of(filled.file, b"c/1 301 ") + 25)
    before = filled.file.read_bytes()
    with pytest.raises(BackendUnusable, match=f"{filled.file} is damaged: message 302 fails its checksum"):
        check_history(str(filled.directory))
    assert filled.file.read_bytes() == before
    assert not damaged_copies(filled)


def test_check_refuses_a_path_that_is_not_a_directory(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "not" / "there"):
        with pytest.raises(BackendUnusable, match=str(path)):
            check_history(str(path))


def test_replay_by_channel_and_by_pattern_agree(filled):
    filled.start()
    assert data(filled.stored("c/0")) == data([each for each in filled.stored() if each.channel == "c/0"])
    assert filled.replay_since("**", EVERYTHING, 7)[1] == []
