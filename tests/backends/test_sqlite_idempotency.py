"""A repeat with an idempotency key publishes nothing, although the daemon was restarted or has crashed meanwhile."""

import sqlite3
from contextlib import closing

import pytest

from pushd.backends.interface import Duplicate
from pushd.backends.sqlite.key_rows import KeyRows
from pushd.backends.sqlite.schema import migrate
from pushd.core.errors import IdempotencyMismatch, TooManyChannels
from pushd.core.idempotency import SECONDS, IdempotencyKey
from pushd.core.message import Message, draft
from tests.backends.sqlite_harness import data

KEY = IdempotencyKey("key", b"digest")


def publish(harness, *channels, key=KEY):
    return harness.clock.wait(harness.backend.publish([draft(channel, b"x") for channel in channels], key))


@pytest.mark.parametrize("end", ["restart", "crash"])
@pytest.mark.parametrize("sync", ["full", "normal"])
def test_repeat_after_a_restart_publishes_nothing(sqlite, sync, end):
    harness = sqlite(sync=sync)
    first = publish(harness, "a", "b")
    again = getattr(harness, end)()
    try:
        assert publish(again, "a", "b") == [Duplicate(each.id, 0) for each in first]
        assert again.delivered == []
        assert [each.id for each in again.stored()] == [each.id for each in first]
        (other,) = publish(again, "a", key=IdempotencyKey("other", b"digest"))
        assert isinstance(other, Message)
    finally:
        again.stop()


def test_repeat_with_another_body_is_refused(sqlite):
    harness = sqlite()
    publish(harness, "a")
    harness.restart()
    assert [type(each) for each in publish(harness, "a", key=KEY._replace(digest=b"other!"))] == [IdempotencyMismatch]
    assert len(harness.stored()) == 1
    assert [type(each) for each in publish(harness, "a")] == [Duplicate]


def test_message_that_was_refused_is_published_by_the_repeat(sqlite):
    harness = sqlite(channels=1)
    first, refused = publish(harness, "a", "b")
    assert isinstance(refused, TooManyChannels)
    harness.restart(channels=2)
    again, published = publish(harness, "a", "b")
    assert (again, published.channel) == (Duplicate(first.id, 0), "b")
    assert [type(each) for each in publish(harness, "a", "b")] == [Duplicate, Duplicate]


def test_key_is_forgotten_in_time(sqlite):
    harness = sqlite()
    publish(harness, "a")
    harness.clock.advance(SECONDS)
    harness.restart()
    assert [type(each) for each in publish(harness, "a")] == [Message]
    assert data(harness.stored()) == [b"x", b"x"]


def test_number_of_keys_is_bounded():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrate(db, "E", 0.0)
        rows = KeyRows(db, most=3)
        for number in range(10):
            rows.write(IdempotencyKey(str(number), b""), [Duplicate(f"E-{number}", 0)], float(number))
        for keys in (rows, KeyRows(db)):
            kept = [number for number in range(10) if keys.find(IdempotencyKey(str(number), b""), 1, 10.0) != [None]]
            assert 2 <= len(kept) <= 3
            assert kept[-1] == 9
