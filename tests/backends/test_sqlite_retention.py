"""Bounds are enforced in small steps, removed messages are hidden at once, and the file shrinks."""

import pytest

from pushd.core.cursor import EVERYTHING, NOW
from pushd.core.message import draft
from tests.backends.sqlite_harness import data

ROOMY = {"messages": 100_000, "bytes": 1 << 30, "total_bytes": 1 << 30}


def publish_many(harness, channel, count, size=10):
    for start in range(0, count, 500):
        harness.publish_all(
            *[draft(channel, b"%0*d" % (size, number)) for number in range(start, min(count, start + 500))]
        )


def rows(harness):
    return harness.sql("SELECT count(*) FROM message")[0][0]


def is_maintained(harness):
    thread = harness.backend._threads._writer_thread
    return lambda: not thread._writer._ledger.stale and not thread._writer._ledger.exceeds_bounds


def test_deleted_channel_is_gone_at_once_and_its_rows_later(sqlite):
    harness = sqlite(**ROOMY)
    publish_many(harness, "a", 3000)
    harness.publish("b")
    assert harness.delete("a")
    assert [each.channel for each in harness.stored()] == ["b"]
    assert harness.publish("a").prev is None
    assert len(harness.stored("a")) == 1
    harness.wait_until(is_maintained(harness))
    assert rows(harness) == 2


def test_full_channel_leaves_few_stale_rows_without_a_pause(sqlite):
    harness = sqlite(messages=100)
    publish_many(harness, "a", 3000)
    assert rows(harness) <= 100 + 500 + 64
    harness.wait_until(is_maintained(harness))
    assert rows(harness) == 100
    assert harness.stored("a", EVERYTHING)[0].seq == 2901


def test_lowered_bounds_are_enforced_after_a_restart_without_a_publish(sqlite):
    harness = sqlite(**ROOMY)
    publish_many(harness, "a", 2000)
    publish_many(harness, "b", 2000)
    harness.restart(messages=50)
    harness.wait_until(is_maintained(harness))
    for channel, newest in (("a", 2000), ("b", 4000)):
        assert [each.seq for each in harness.stored(channel)] == list(range(newest - 49, newest + 1))
        assert harness.open(channel, harness.cursor_at(newest - 60)).gaps[0].reason == "evicted"
    cost = harness.clock.wait(harness.backend.usage()).bytes // 100
    harness.restart(total_bytes=60 * cost)
    harness.wait_until(is_maintained(harness))
    assert len(harness.stored()) <= 60
    assert rows(harness) == len(harness.stored())


def test_publish_succeeds_before_lowered_bounds_are_enforced(sqlite, monkeypatch):
    harness = sqlite(**ROOMY)
    publish_many(harness, "a", 2000)
    harness.restart(messages=10)
    harness.publish("a")
    harness.wait_until(is_maintained(harness))
    assert len(harness.stored("a")) == 10


def test_expired_messages_are_hidden_at_once_and_deleted_later(sqlite):
    harness = sqlite(age=100.0, **ROOMY)
    publish_many(harness, "a", 1500)
    harness.publish("b", ttl=50.0)
    harness.clock.rightNow += 60
    publish_many(harness, "c", 300)
    harness.clock.rightNow += 50
    assert {each.channel for each in harness.stored()} == {"c"}
    assert harness.clock.wait(harness.backend.info("a")).messages == 0
    assert harness.open("**", harness.cursor_at(0)).gaps[0].end == f"{harness.epoch}-1501"
    harness.tick()
    harness.wait_until(lambda: rows(harness) == 300)
    assert harness.clock.wait(harness.backend.usage())[:3] == (
        300,
        harness.clock.wait(harness.backend.usage()).bytes,
        3,
    )
    for topic in ("a", "b"):
        assert harness.open(topic, harness.cursor_at(0)).gaps[0].reason == "expired"
        assert harness.open(topic, NOW).gaps == ()


def test_file_shrinks_after_a_large_channel_is_deleted(sqlite):
    harness = sqlite(**ROOMY)
    publish_many(harness, "a", 2000, size=4000)
    harness.publish("b")
    harness.restart()
    large = harness.file.stat().st_size
    assert large > 8_000_000
    writer = harness.backend._threads._writer_thread._writer
    steps = []
    writer.db.set_trace_callback(lambda text: steps.append(text) if "incremental_vacuum" in text else None)
    harness.delete("a")
    harness.wait_until(lambda: is_maintained(harness)() and not writer.has_maintenance)
    writer.db.set_trace_callback(None)
    harness.restart()
    assert harness.file.stat().st_size < large / 4
    assert 0 < len(steps) < 20
    assert data(harness.stored()) == [b"x"]


@pytest.mark.parametrize("channels", [20_000])
def test_many_channels(sqlite, channels):
    harness = sqlite(channels=channels)
    for start in range(0, channels, 1000):
        harness.publish_all(*[draft(f"c/{number}", b"x") for number in range(start, start + 1000)])
    refusal = harness.publish_all(draft("one/more", b"x"))[0]
    assert type(refusal).__name__ == "TooManyChannels"
    harness.restart()
    assert harness.clock.wait(harness.backend.usage()).channels == channels
    assert [each.seq for each in harness.stored("c/777,c/19999")] == [778, 20_000]
    names = harness.clock.wait(harness.backend.names("c/1999", "c/19995", 3))
    assert names == ["c/19996", "c/19997", "c/19998"]
    assert harness.open("**", harness.cursor_at(channels)).needs_replay is False
    assert harness.publish("c/5").prev == f"{harness.epoch}-6"


def test_publish_is_not_delayed_by_many_expired_messages(sqlite):
    harness = sqlite(age=100.0, **ROOMY)
    publish_many(harness, "a", 3000)
    harness.clock.rightNow += 101
    writer = harness.backend._threads._writer_thread._writer
    deleted = []
    writer.db.set_trace_callback(lambda text: deleted.append(text) if text.startswith("DELETE") else None)
    harness.publish_all(*[draft("b", b"x")] * 50)
    writer.db.set_trace_callback(None)
    assert len(harness.stored()) == 50
    harness.wait_until(lambda: rows(harness) == 50)
    assert 0 < len(deleted) < 1000
