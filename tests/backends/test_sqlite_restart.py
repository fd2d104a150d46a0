"""The history survives restarts, crashes and changes of the wall clock."""

import pytest
from msgspec import structs

from pushd.backends.sqlite import history_file
from pushd.core.cursor import NOW, Age, MessageId
from pushd.core.message import draft
from tests.backends.sqlite_harness import data


def test_restart_continues_the_log(sqlite):
    harness = sqlite()
    first, second = harness.publish("a", b"1", event="e"), harness.publish("b", b"2")
    epoch = harness.epoch
    harness.restart()
    assert harness.epoch == epoch
    assert [each.id for each in harness.stored()] == [first.id, second.id]
    third = harness.publish("a", b"3")
    assert (third.seq, third.prev) == (3, first.id)
    assert data(harness.stored("a", MessageId(epoch, 1))) == [b"3"]


def test_restart_causes_no_gaps(sqlite):
    harness = sqlite()
    sent = harness.publish_each("abab")
    harness.restart()
    for seq in range(5):
        messages, gaps = harness.replay_since("a,b,*", harness.cursor_at(seq))
        assert (messages and [each.seq for each in messages]) == [each.seq for each in sent[seq:]]
        assert gaps == []


def test_losses_before_a_restart_are_reported_after_it(sqlite):
    harness = sqlite(messages=1)
    harness.publish_each("aab")
    harness.delete("b")
    harness.restart()
    assert harness.open("a", harness.cursor_at(0)).gaps == (
        ("a", f"{harness.epoch}-0", f"{harness.epoch}-1", "evicted"),
    )
    assert harness.open("b", harness.cursor_at(0)).gaps == (
        ("b", f"{harness.epoch}-0", f"{harness.epoch}-3", "evicted"),
    )
    assert harness.open("b", harness.cursor_at(3)).is_complete


def test_size_of_a_message_is_the_same_after_a_restart(sqlite):
    """What is counted is taken off again, whatever the names of the message are."""
    harness = sqlite(messages=1)
    names = {"event": "é" * 10, "sender": "é\0" * 10}
    harness.publish_all(structs.replace(draft("a", b"x"), **names))
    harness.restart()
    harness.publish("a")
    before = harness.clock.wait(harness.backend.usage()).bytes
    harness.publish_all(structs.replace(draft("a", b"x"), **names))
    harness.restart()
    harness.publish("a")
    assert harness.clock.wait(harness.backend.usage()).bytes == before


def test_end_of_a_channel_survives_a_restart(sqlite):
    harness = sqlite()
    harness.publish("a", b"last", end=True)
    harness.restart()
    assert harness.open("a", NOW).is_complete
    assert harness.clock.wait(harness.backend.page(("a",), harness.cursor_at(0), 10, 1000)).ended == ("a",)


@pytest.mark.parametrize("sync", ["full", "normal"])
def test_acknowledged_messages_survive_a_crash(sqlite, sync):
    """Crash without a stop."""
    harness = sqlite(sync=sync)
    for number in range(20):
        harness.publish("a", b"%d" % number)
    again = harness.crash()
    try:
        assert data(again.stored()) == [b"%d" % number for number in range(20)]
        assert again.epoch == harness.epoch
        assert again.publish("a").seq == 21
    finally:
        again.stop()


def test_message_is_committed_before_it_is_delivered(sqlite):
    harness = sqlite()
    stored = []

    def on_message(message):
        stored.append(harness.sql("SELECT max(seq) FROM message")[0][0] >= message.seq)
        harness.delivered.append(message)

    harness.backend._events = harness.backend._events._replace(on_message=on_message)
    harness.publish_each("abc")
    assert stored == [True, True, True]


def test_deleted_file_starts_a_new_epoch(sqlite):
    harness = sqlite()
    old = harness.publish("a")
    harness.stop()
    harness.file.unlink()
    harness.start()
    assert harness.epoch != old.epoch
    assert harness.stored() == []
    (gap,) = harness.open("a", MessageId(old.epoch, old.seq)).gaps
    assert (gap.reason, gap.start) == ("epoch", old.id)


# Time


def test_age_of_a_message_continues_over_a_restart(sqlite):
    harness = sqlite(age=100.0)
    harness.publish("a")
    harness.stop()
    harness.clock.rightNow += 60
    harness.start()
    harness.publish("b")
    assert len(harness.stored()) == 2
    harness.clock.rightNow += 50
    assert [each.channel for each in harness.stored()] == ["b"]
    assert harness.open("a", harness.cursor_at(0)).gaps[0].reason == "expired"


def test_ttl_continues_over_a_restart(sqlite):
    harness = sqlite()
    harness.publish("a", ttl=10.0)
    harness.restart()
    assert len(harness.stored()) == 1
    harness.stop()
    harness.clock.rightNow += 11
    harness.start()
    assert harness.stored() == []
    assert harness.open("a", harness.cursor_at(0)).gaps[0].reason == "expired"


@pytest.mark.parametrize("while_running", [True, False])
def test_wall_clock_that_is_set_back_loses_nothing(sqlite, while_running):
    harness = sqlite(age=100.0)
    first = harness.publish("a")
    if not while_running:
        harness.stop()
    harness.clock.wall_offset -= 1_000_000
    if not while_running:
        harness.start()
    second = harness.publish("a")
    assert second.seq == first.seq + 1
    assert second.time < first.time
    harness.restart()
    assert [each.seq for each in harness.stored()] == [1, 2]
    harness.clock.rightNow += 99
    assert len(harness.stored()) == 2
    harness.clock.rightNow += 2
    assert harness.stored() == []


def test_wall_clock_that_is_corrected_expires_nothing_early(sqlite):
    harness = sqlite(age=100.0)
    harness.clock.wall_offset += 1_000_000
    harness.publish("a")
    harness.stop()
    harness.clock.wall_offset -= 1_000_000
    harness.start()
    harness.publish("a")
    harness.clock.rightNow += 50
    harness.restart()
    assert len(harness.stored()) == 2


def test_change_of_the_wall_clock_without_publishes_is_recorded(sqlite):
    harness = sqlite(age=100.0)
    harness.publish("a")
    harness.clock.wall_offset += 1_000_000
    harness.tick()
    harness.restart()
    assert len(harness.stored()) == 1


def test_since_a_time_is_correct_after_the_wall_clock_was_set_back(sqlite):
    harness = sqlite()
    for moved in (0, -500, 100, 100):
        harness.clock.wall_offset += moved
        harness.publish("a")
    # The timestamps are 1000, 500, 600 and 700, and the time is 700.
    for seconds, expected in ((50.0, [4]), (150.0, [3, 4]), (250.0, [1, 2, 3, 4]), (1000.0, [1, 2, 3, 4])):
        harness.restart()
        since = Age(seconds)
        assert [each.seq for each in harness.stored("a", since)] == expected
        assert [each.seq for each in harness.stored("*", since)] == expected


# Crashes of the machine


def set_boot_id(harness, name, monkeypatch, tmp_path):
    """Pretend that the machine was booted again."""
    file = tmp_path / name
    file.write_text(name)
    monkeypatch.setattr(history_file, "_BOOT_ID", file)


@pytest.mark.parametrize(
    ("sync", "is_clean", "is_new"), [("normal", False, True), ("normal", True, False), ("full", False, False)]
)
def test_no_id_is_assigned_twice_after_a_power_cut(sqlite, monkeypatch, tmp_path, sync, is_clean, is_new):
    set_boot_id(None, "first", monkeypatch, tmp_path)
    harness = sqlite(sync=sync)
    sent = harness.publish_each("ab")
    if is_clean:
        harness.stop()
    set_boot_id(None, "second", monkeypatch, tmp_path)
    again = harness.crash()
    try:
        assert (again.epoch != harness.epoch) is is_new
        assert [each.seq for each in again.stored()] == [1, 2]
        assert again.publish("a").id not in {each.id for each in sent}
        gaps = again.open("a", MessageId(harness.epoch, 1)).gaps
        assert [gap.reason for gap in gaps] == ["epoch"] * is_new
    finally:
        again.stop()


def test_death_of_the_process_keeps_the_epoch(sqlite, monkeypatch, tmp_path):
    set_boot_id(None, "first", monkeypatch, tmp_path)
    harness = sqlite(sync="normal")
    harness.publish("a")
    again = harness.crash()
    try:
        assert again.epoch == harness.epoch
    finally:
        again.stop()


def test_used_urls_survive_a_restart_and_a_crash(sqlite):
    harness = sqlite(sync="full")
    digest, until = b"u" * 16, harness.clock.wall() + 1000
    harness.clock.wait(harness.backend.remember_url(digest, until))
    again = harness.crash()
    harness.restart()
    for each in (harness, again):
        assert each.clock.wait(each.backend.is_url_remembered(digest))
        assert not each.clock.wait(each.backend.is_url_remembered(b"v" * 16))
        each.clock.wait(each.backend.remember_url(digest, until))
    again.stop()


def test_rows_of_used_urls_are_deleted_when_others_are_added(sqlite):
    harness = sqlite()
    now = harness.clock.wall()
    for number in range(50):
        harness.clock.wait(harness.backend.remember_url(number.to_bytes(16, "big"), now + 10 + number))
    harness.clock.advance(100)
    for number in range(50, 80):
        harness.clock.wait(harness.backend.remember_url(number.to_bytes(16, "big"), now + 1000))
    assert harness.sql("SELECT count(*) FROM url") == [(30,)]


def test_used_urls_are_forgotten_with_the_epoch(sqlite):
    harness = sqlite()
    digest, until, epoch = b"u" * 16, harness.clock.wall() + 1000, harness.epoch
    harness.clock.wait(harness.backend.remember_url(digest, until))
    harness.stop()
    older = harness.file.read_bytes()
    harness.start()
    assert harness.clock.wait(harness.backend.is_url_remembered(digest))
    harness.publish("a")
    harness.stop()
    harness.file.write_bytes(older)
    harness.start()
    assert harness.epoch != epoch
    assert not harness.clock.wait(harness.backend.is_url_remembered(digest))
