"""A damaged file: the start says what it found and keeps what is whole, beside a copy, or refuses with a sentence."""

import random
import sqlite3
from typing import cast

import pytest
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher

from pushd.backends.interface import BackendUnusable
from pushd.backends.sqlite import history_file, schema
from pushd.backends.sqlite.directory import connect
from pushd.backends.sqlite.history_check import check_history
from pushd.core.cursor import EVERYTHING, MessageId
from tests.backends.sqlite_harness import DiskStore, data


@pytest.fixture
def said():
    """What is logged."""
    lines = []

    def watch(event):
        lines.append(formatEvent(event))

    observer = cast(ILogObserver, watch)
    globalLogPublisher.addObserver(observer)
    yield lines
    globalLogPublisher.removeObserver(observer)


@pytest.fixture
def filled(disk):
    """A history of 600 messages in three channels, each of which says where it is; closed."""
    store = disk(total_bytes=1 << 30)
    for start in range(0, 600, 50):
        store.try_all(*[written(number) for number in range(start, start + 50)])
    store.stop()
    return store


def written(number):
    from pushd.core.message import draft

    return draft(f"c/{number % 3}", f"c/{number % 3} {number} ".encode() * 20)


def is_true(message):
    """Whether a message is what somebody published."""
    number = message.seq - 1
    return (message.channel, message.data) == (written(number).channel, written(number).data)


def flip(file, place, bit=3):
    content = bytearray(file.read_bytes())
    content[place] ^= 1 << bit
    file.write_bytes(content)


def place_of(file, text):
    return file.read_bytes().index(text)


def copies(store):
    return sorted(part.name for part in store.directory.glob("damaged-*.sqlite"))


def test_a_flipped_bit_in_a_message_costs_that_message(filled, said):
    flip(filled.file, place_of(filled.file, b"c/1 301 ") + 25)
    before = filled.file.read_bytes()
    old = filled.epoch
    filled.start()
    assert [each.seq for each in filled.kept()] == [seq for seq in range(1, 601) if seq != 302]
    assert all(map(is_true, filled.kept()))
    assert any("is damaged: message 302 fails its checksum" in line for line in said)
    assert any("Recovered 599 messages in 3 channels, 1 lost" in line for line in said)
    assert len(copies(filled)) == 1
    assert (filled.directory / copies(filled)[0]).read_bytes() == before
    assert filled.epoch != old
    (gap,) = filled.open("c/1", MessageId(old, 600)).gaps
    assert gap.reason == "epoch"
    assert filled.publish("c/1").seq == 601
    filled.restart()
    assert len(filled.kept()) == 600


def test_a_flipped_bit_in_what_is_known_of_a_channel_costs_no_message(filled, said):
    records = filled.file.read_bytes()
    place = records.index(b"c/2", records.index(b"c/2") - 200)
    flip(filled.file, place)
    filled.start()
    assert all(map(is_true, filled.kept()))
    assert len(filled.kept()) == 600


@pytest.mark.parametrize("seed", range(12))
def test_wherever_a_bit_is_flipped_no_nonsense_is_served(filled, said, seed):
    chance = random.Random(seed)
    size = filled.file.stat().st_size
    # Every second one into the first pages, where the structure is.
    place = chance.randrange(100, 16384) if seed % 2 else chance.randrange(100, size)
    flip(filled.file, place, chance.randrange(8))
    try:
        filled.start()
    except BackendUnusable as fault:
        assert str(fault).startswith(str(filled.file))
        return
    kept = filled.kept()
    assert all(map(is_true, kept))
    assert len(kept) == 600 or copies(filled)
    assert len(kept) >= 300, "what is whole is kept"
    filled.publish("new")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_of_a_file_that_was_cut_short_what_is_whole_is_kept(filled, said, share):
    content = filled.file.read_bytes()
    filled.file.write_bytes(content[: int(len(content) * share)])
    try:
        filled.start()
    except BackendUnusable as fault:
        assert "nothing of it can be read" in str(fault)
        assert share < 0.5
        return
    kept = filled.kept()
    assert all(map(is_true, kept))
    assert share * 200 < len(kept) < 600
    assert copies(filled)
    assert any("is damaged" in line for line in said)
    filled.publish("new")
    filled.restart()
    assert len(filled.kept()) == len(kept) + 1


@pytest.mark.parametrize("content", [b"not a database", b"SQLite format 3\0" + bytes(5000), bytes(9000)])
def test_what_is_no_file_of_sqlite_is_refused_and_left_alone(tmp_path, content):
    store = DiskStore(tmp_path / "data")
    store.directory.mkdir()
    store.file.write_bytes(content)
    with pytest.raises(BackendUnusable, match=str(store.file)):
        store.start()
    assert store.file.read_bytes() == content
    with pytest.raises(BackendUnusable, match=str(store.file)):
        check_history(str(store.directory))


def test_an_empty_file_is_a_new_history(tmp_path):
    store = DiskStore(tmp_path / "data")
    store.directory.mkdir()
    store.file.touch()
    store.start()
    assert store.publish("a").seq == 1
    store.stop()


def test_damage_that_a_start_had_no_time_for_is_found_beside_the_work(filled, said, monkeypatch):
    flip(filled.file, place_of(filled.file, b"c/0 3 ") + 25)
    monkeypatch.setattr(history_file, "_VERIFY_SECONDS", 0.0)
    filled.start()
    filled.until(lambda: any("message 4 fails its checksum; restart pushd" in line for line in said))
    kept, gaps = filled.come_back("c/0", filled.at(0))
    assert all(map(is_true, kept)) and len(kept) == 199
    assert [(gap.end, gap.reason) for gap in gaps] == [(f"{filled.epoch}-4", "unknown")]
    filled.stop()
    filled.start()
    assert len(filled.kept()) == 599 and copies(filled), "the next start looks at all of it"
    filled.restart()
    assert len(copies(filled)) == 1


def test_an_interrupted_rescue_is_finished_by_the_next_start(filled):
    """Killed between the last two steps: the new file is complete, and the damaged one still there."""
    content = filled.file.read_bytes()
    filled.file.write_bytes(b"no file of SQLite at all")
    (filled.directory / "history.rebuilt").write_bytes(content)
    filled.start()
    assert len(filled.kept()) == 600


# Versions


def test_a_file_of_each_older_version_is_migrated_with_all_that_is_in_it(filled, tmp_path):
    newest = filled.sql("SELECT name, sql FROM sqlite_schema ORDER BY name")
    for version in range(1, schema.VERSION):
        old = DiskStore(tmp_path / f"version{version}", total_bytes=1 << 30)
        old.directory.mkdir()
        db = connect(old.file, "rwc")
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        schema.migrate(db, "Old", 1000.0, target=version)
        db.execute("ATTACH ? AS filled", (str(filled.file),))
        for table in ("channel", "message"):
            db.execute(f"INSERT INTO main.{table} SELECT * FROM filled.{table}")
        db.execute("UPDATE main.log SET seq = 600, now = 60, wall = 1060")
        db.close()
        assert f", version {version}, upgraded" in check_history(str(old.directory))
        old.start()
        try:
            assert [each.seq for each in old.kept()] == list(range(1, 601))
            assert old.publish("c/0").id == "Old-601"
        finally:
            old.stop()
        assert old.sql("SELECT name, sql FROM sqlite_schema ORDER BY name") == newest
        assert "is intact" in check_history(str(old.directory))


@pytest.mark.parametrize(
    ("pragma", "sentence"),
    [
        (f"user_version = {schema.VERSION + 1}", "was written by a newer pushd"),
        ("application_id = 7", "belongs to another program"),
    ],
)
def test_a_file_of_a_newer_version_or_of_somebody_else_is_refused_and_left_alone(filled, pragma, sentence):
    filled.sql(f"PRAGMA {pragma}")
    before = filled.file.read_bytes()
    for attempt in (filled.start, lambda: check_history(str(filled.directory))):
        with pytest.raises(BackendUnusable, match=f"{filled.file} {sentence}"):
            attempt()
    assert filled.file.read_bytes() == before


def test_a_migration_that_fails_changes_nothing(tmp_path, monkeypatch):
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


def test_a_check_tells_what_is_there_and_changes_nothing(filled, tmp_path):
    before = filled.file.read_bytes()
    assert check_history(str(filled.directory)) == (
        f"the history is intact ({filled.file}: 600 messages in 3 channels, {len(before) + 32768} bytes)"
    ) or "600 messages in 3 channels" in check_history(str(filled.directory))
    assert filled.file.read_bytes() == before
    assert check_history(str(tmp_path / "new")) == f"no history yet: {tmp_path / 'new'} will be created"
    (tmp_path / "new").mkdir()
    assert check_history(str(tmp_path / "new")) == f"no history in {tmp_path / 'new'} yet"


def test_a_check_works_beside_a_daemon(filled):
    filled.start()
    filled.publish("a")
    assert "601 messages in 4 channels" in check_history(str(filled.directory))
    assert filled.publish("a").seq == 602


def test_a_check_finds_damage_and_leaves_it_to_the_start(filled):
    flip(filled.file, place_of(filled.file, b"c/1 301 ") + 25)
    before = filled.file.read_bytes()
    with pytest.raises(BackendUnusable, match=f"{filled.file} is damaged: message 302 fails its checksum"):
        check_history(str(filled.directory))
    assert filled.file.read_bytes() == before
    assert not copies(filled)


def test_a_check_refuses_what_is_no_directory(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "not" / "there"):
        with pytest.raises(BackendUnusable, match=str(path)):
            check_history(str(path))


def test_all_is_read_by_every_reader_again(filled):
    filled.start()
    assert data(filled.kept("c/0")) == data([each for each in filled.kept() if each.channel == "c/0"])
    assert filled.come_back("**", EVERYTHING, 7)[1] == []
