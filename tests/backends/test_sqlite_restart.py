"""What a restart, a crash and a clock that somebody sets leave as it was."""

import pytest

from pushd.backends.sqlite import history_file
from pushd.core.cursor import NOW, Age, MessageId
from tests.backends.sqlite_harness import data


def test_a_restart_goes_on_where_the_log_was(disk):
    store = disk()
    first, second = store.publish("a", b"1", event="e"), store.publish("b", b"2")
    epoch = store.epoch
    store.restart()
    assert store.epoch == epoch
    assert [each.id for each in store.kept()] == [first.id, second.id]
    third = store.publish("a", b"3")
    assert (third.seq, third.prev) == (3, first.id)
    assert data(store.kept("a", MessageId(epoch, 1))) == [b"3"]


def test_no_gap_is_told_where_none_is(disk):
    store = disk()
    sent = store.publish_each("abab")
    store.restart()
    for seq in range(5):
        messages, gaps = store.come_back("a,b,*", store.at(seq))
        assert (messages and [each.seq for each in messages]) == [each.seq for each in sent[seq:]]
        assert gaps == []


def test_what_was_lost_before_a_restart_is_told_after_it(disk):
    store = disk(messages=1)
    store.publish_each("aab")
    store.forget("b")
    store.restart()
    assert store.open("a", store.at(0)).gaps == (("a", f"{store.epoch}-0", f"{store.epoch}-1", "evicted"),)
    assert store.open("b", store.at(0)).gaps == (("b", f"{store.epoch}-0", f"{store.epoch}-3", "evicted"),)
    assert store.open("b", store.at(3)).is_complete


def test_an_end_outlasts_a_restart(disk):
    store = disk()
    store.publish("a", b"last", end=True)
    store.restart()
    assert store.open("a", NOW).is_complete
    assert store.clock.wait(store.backend.page(("a",), store.at(0), 10, 1000)).ended == ("a",)


@pytest.mark.parametrize("sync", ["full", "normal"])
def test_what_was_acknowledged_is_on_disk_at_that_moment(disk, sync):
    """Without a word to the store that is about to die."""
    store = disk(sync=sync)
    for number in range(20):
        store.publish("a", b"%d" % number)
    again = store.crash()
    try:
        assert data(again.kept()) == [b"%d" % number for number in range(20)]
        assert again.epoch == store.epoch
        assert again.publish("a").seq == 21
    finally:
        again.stop()


def test_nobody_hears_what_is_not_on_disk(disk):
    store = disk()
    kept = []

    def look(message):
        kept.append(store.sql("SELECT max(seq) FROM message")[0][0] >= message.seq)
        store.heard.append(message)

    store.backend._events = store.backend._events._replace(on_message=look)
    store.publish_each("abc")
    assert kept == [True, True, True]


def test_a_file_that_was_deleted_gives_a_new_epoch(disk):
    store = disk()
    old = store.publish("a")
    store.stop()
    store.file.unlink()
    store.start()
    assert store.epoch != old.epoch
    assert store.kept() == []
    (gap,) = store.open("a", MessageId(old.epoch, old.seq)).gaps
    assert (gap.reason, gap.start) == ("epoch", old.id)


# Time


def test_the_age_of_a_message_counts_over_restarts(disk):
    store = disk(age=100.0)
    store.publish("a")
    store.stop()
    store.clock.rightNow += 60
    store.start()
    store.publish("b")
    assert len(store.kept()) == 2
    store.clock.rightNow += 50
    assert [each.channel for each in store.kept()] == ["b"]
    assert store.open("a", store.at(0)).gaps[0].reason == "expired"


def test_a_time_to_live_counts_over_restarts(disk):
    store = disk()
    store.publish("a", ttl=10.0)
    store.restart()
    assert len(store.kept()) == 1
    store.stop()
    store.clock.rightNow += 11
    store.start()
    assert store.kept() == []
    assert store.open("a", store.at(0)).gaps[0].reason == "expired"


@pytest.mark.parametrize("while_running", [True, False])
def test_a_clock_that_is_set_back_loses_nothing_and_stops_nothing(disk, while_running):
    store = disk(age=100.0)
    first = store.publish("a")
    if not while_running:
        store.stop()
    store.clock.set_by -= 1_000_000
    if not while_running:
        store.start()
    second = store.publish("a")
    assert second.seq == first.seq + 1
    assert second.time < first.time
    store.restart()
    assert [each.seq for each in store.kept()] == [1, 2]
    store.clock.rightNow += 99
    assert len(store.kept()) == 2
    store.clock.rightNow += 2
    assert store.kept() == []


def test_a_clock_that_was_ahead_and_is_right_again_does_not_end_messages_early(disk):
    store = disk(age=100.0)
    store.clock.set_by += 1_000_000
    store.publish("a")
    store.stop()
    store.clock.set_by -= 1_000_000
    store.start()
    store.publish("a")
    store.clock.rightNow += 50
    store.restart()
    assert len(store.kept()) == 2


def test_a_clock_that_was_set_while_nobody_published_is_known_at_the_next_start(disk):
    store = disk(age=100.0)
    store.publish("a")
    store.clock.set_by += 1_000_000
    store.tick()
    store.restart()
    assert len(store.kept()) == 1


def test_one_who_asks_for_a_time_is_answered_truly_after_the_clock_was_set_back(disk):
    store = disk()
    for moved in (0, -500, 100, 100):
        store.clock.set_by += moved
        store.publish("a")
    # The first says 1000, the others 500, 600 and 700, and it is 700 now.
    for seconds, wanted in ((50.0, [4]), (150.0, [3, 4]), (250.0, [1, 2, 3, 4]), (1000.0, [1, 2, 3, 4])):
        store.restart()
        since = Age(seconds)
        assert [each.seq for each in store.kept("a", since)] == wanted
        assert [each.seq for each in store.kept("*", since)] == wanted


# Machines that go down


def boot(store, name, monkeypatch, tmp_path):
    """Let the machine have been started anew."""

    file = tmp_path / name
    file.write_text(name)
    monkeypatch.setattr(history_file, "_BOOT_ID", file)


@pytest.mark.parametrize(
    ("sync", "is_clean", "is_new"), [("normal", False, True), ("normal", True, False), ("full", False, False)]
)
def test_after_a_power_cut_no_id_is_given_twice(disk, monkeypatch, tmp_path, sync, is_clean, is_new):
    boot(None, "first", monkeypatch, tmp_path)
    store = disk(sync=sync)
    sent = store.publish_each("ab")
    if is_clean:
        store.stop()
    boot(None, "second", monkeypatch, tmp_path)
    again = store.crash()
    try:
        assert (again.epoch != store.epoch) is is_new
        assert [each.seq for each in again.kept()] == [1, 2]
        assert again.publish("a").id not in {each.id for each in sent}
        gaps = again.open("a", MessageId(store.epoch, 1)).gaps
        assert [gap.reason for gap in gaps] == ["epoch"] * is_new
    finally:
        again.stop()


def test_the_death_of_the_process_alone_leaves_the_epoch(disk, monkeypatch, tmp_path):
    boot(None, "first", monkeypatch, tmp_path)
    store = disk(sync="normal")
    store.publish("a")
    again = store.crash()
    try:
        assert again.epoch == store.epoch
    finally:
        again.stop()
