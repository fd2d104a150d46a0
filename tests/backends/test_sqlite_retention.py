"""Bounds are kept in small steps beside the work, what is gone is gone at once, and the file gives room back."""

import pytest

from pushd.core.cursor import EVERYTHING, NOW
from pushd.core.message import draft
from tests.backends.sqlite_harness import data

ROOMY = {"messages": 100_000, "bytes": 1 << 30, "total_bytes": 1 << 30}


def publish_many(store, channel, count, size=10):
    for start in range(0, count, 500):
        store.try_all(*[draft(channel, b"%0*d" % (size, number)) for number in range(start, min(count, start + 500))])


def rows(store):
    return store.sql("SELECT count(*) FROM message")[0][0]


def is_tidy(store):
    writing = store.backend._threads._writer_thread
    return lambda: not writing._writer._ledger.stale and not writing._writer._ledger.exceeds_bounds


def test_a_forgotten_channel_is_gone_at_once_however_large_it_was_and_its_rows_in_good_time(disk):
    store = disk(**ROOMY)
    publish_many(store, "a", 3000)
    store.publish("b")
    assert store.forget("a")
    assert [each.channel for each in store.kept()] == ["b"]
    assert store.publish("a").prev is None
    assert len(store.kept("a")) == 1
    store.until(is_tidy(store))
    assert rows(store) == 2


def test_a_channel_that_is_always_full_leaves_few_rows_behind_while_there_is_no_pause(disk):
    store = disk(messages=100)
    publish_many(store, "a", 3000)
    assert rows(store) <= 100 + 500 + 64
    store.until(is_tidy(store))
    assert rows(store) == 100
    assert store.kept("a", EVERYTHING)[0].seq == 2901


def test_narrower_bounds_hold_after_a_restart_without_anybody_publishing(disk):
    store = disk(**ROOMY)
    publish_many(store, "a", 2000)
    publish_many(store, "b", 2000)
    store.restart(messages=50)
    store.until(is_tidy(store))
    for channel, newest in (("a", 2000), ("b", 4000)):
        assert [each.seq for each in store.kept(channel)] == list(range(newest - 49, newest + 1))
        assert store.open(channel, store.at(newest - 60)).gaps[0].reason == "evicted"
    cost = store.clock.wait(store.backend.usage()).bytes // 100
    store.restart(total_bytes=60 * cost)
    store.until(is_tidy(store))
    assert len(store.kept()) <= 60
    assert rows(store) == len(store.kept())


def test_a_publish_after_bounds_were_narrowed_does_not_wait_for_all_that_is_too_much(disk, monkeypatch):
    store = disk(**ROOMY)
    publish_many(store, "a", 2000)
    store.restart(messages=10)
    store.publish("a")
    store.until(is_tidy(store))
    assert len(store.kept("a")) == 10


def test_what_is_too_old_is_never_served_and_deleted_in_good_time(disk):
    store = disk(age=100.0, **ROOMY)
    publish_many(store, "a", 1500)
    store.publish("b", ttl=50.0)
    store.clock.rightNow += 60
    publish_many(store, "c", 300)
    store.clock.rightNow += 50
    assert {each.channel for each in store.kept()} == {"c"}
    assert store.clock.wait(store.backend.info("a")).messages == 0
    assert store.open("**", store.at(0)).gaps[0].end == f"{store.epoch}-1501"
    store.tick()
    store.until(lambda: rows(store) == 300)
    assert store.clock.wait(store.backend.usage())[:3] == (300, store.clock.wait(store.backend.usage()).bytes, 3)
    for topic in ("a", "b"):
        assert store.open(topic, store.at(0)).gaps[0].reason == "expired"
        assert store.open(topic, NOW).gaps == ()


def test_the_file_gives_back_the_room_of_what_is_gone(disk):
    store = disk(**ROOMY)
    publish_many(store, "a", 2000, size=4000)
    store.publish("b")
    store.restart()
    large = store.file.stat().st_size
    assert large > 8_000_000
    writer = store.backend._threads._writer_thread._writer
    steps = []
    writer.db.set_trace_callback(lambda text: steps.append(text) if "incremental_vacuum" in text else None)
    store.forget("a")
    store.until(lambda: is_tidy(store)() and not writer.has_maintenance)
    writer.db.set_trace_callback(None)
    store.restart()
    assert store.file.stat().st_size < large / 4
    assert 0 < len(steps) < 20
    assert data(store.kept()) == [b"x"]


@pytest.mark.parametrize("channels", [20_000])
def test_many_channels(disk, channels):
    store = disk(channels=channels)
    for start in range(0, channels, 1000):
        store.try_all(*[draft(f"c/{number}", b"x") for number in range(start, start + 1000)])
    refusal = store.try_all(draft("one/more", b"x"))[0]
    assert type(refusal).__name__ == "TooManyChannels"
    store.restart()
    assert store.clock.wait(store.backend.usage()).channels == channels
    assert [each.seq for each in store.kept("c/777,c/19999")] == [778, 20_000]
    names = store.clock.wait(store.backend.names("c/1999", "c/19995", 3))
    assert names == ["c/19996", "c/19997", "c/19998"]
    assert store.open("**", store.at(channels)).needs_replay is False
    assert store.publish("c/5").prev == f"{store.epoch}-6"


def test_much_that_expires_at_once_does_not_hold_up_who_publishes(disk):
    store = disk(age=100.0, **ROOMY)
    publish_many(store, "a", 3000)
    store.clock.rightNow += 101
    writer = store.backend._threads._writer_thread._writer
    deleted = []
    writer.db.set_trace_callback(lambda text: deleted.append(text) if text.startswith("DELETE") else None)
    store.try_all(*[draft("b", b"x")] * 50)
    writer.db.set_trace_callback(None)
    assert len(store.kept()) == 50
    store.until(lambda: rows(store) == 50)
    assert 0 < len(deleted) < 1000
