"""Idempotency keys survive a restart and a crash, so that a repeat is published once."""

import pytest

from pushd.backends.interface import Duplicate
from pushd.core.errors import IdempotencyMismatch
from pushd.core.idempotency import SECONDS, IdempotencyKey
from pushd.core.message import Message, draft

KEY = IdempotencyKey("key", b"digest")


def publish(harness, *texts, key=KEY):
    """Publish texts with a key; return the results."""
    return harness.clock.wait(harness.backend.publish([draft("a", text.encode()) for text in texts], key))


def count(harness) -> int:
    return int(harness.clock.wait(harness.backend.usage()).messages)


@pytest.mark.parametrize("how", ["restart", "crash"])
def test_repeat_after_a_restart_gets_the_ids_of_the_first(sqlite, how):
    harness = sqlite()
    first = publish(harness, "one", "two")
    again = getattr(harness, how)()
    assert publish(again, "one", "two") == [Duplicate(each.id, 0) for each in first]
    assert (again.delivered, count(again)) == ([], 2)
    assert isinstance(again.publish("a"), Message)
    again.stop()


def test_other_body_is_a_mismatch_after_a_restart(sqlite):
    harness = sqlite()
    publish(harness, "one")
    harness.restart()
    for texts, digest in ((["one"], b"another"), (["one", "two"], b"digest")):
        results = publish(harness, *texts, key=IdempotencyKey("key", digest))
        assert [type(each) for each in results] == [IdempotencyMismatch] * len(texts)
    assert count(harness) == 1


def test_key_is_forgotten_after_two_minutes(sqlite):
    harness = sqlite()
    publish(harness, "one")
    harness.restart()
    harness.clock.advance(SECONDS + 1)
    assert isinstance(publish(harness, "one")[0], Message)


def test_message_that_was_refused_is_published_by_a_repeat(sqlite):
    harness = sqlite(channels=1)
    harness.publish("b")
    harness.delete("b")
    drafts = [draft("a", b"1"), draft("c", b"2")]
    results = harness.clock.wait(harness.backend.publish(drafts, KEY))
    assert [isinstance(each, Message) for each in results] == [True, False]
    harness.restart(channels=5)
    first, second = harness.clock.wait(harness.backend.publish(drafts, KEY))
    assert isinstance(first, Duplicate)
    assert isinstance(second, Message)
    harness.restart(channels=5)
    third = harness.clock.wait(harness.backend.publish(drafts, KEY))
    assert third == [first, Duplicate(second.id, 0)]


def test_refused_publish_leaves_no_key(sqlite):
    harness = sqlite(channels=1)
    harness.publish("b")
    assert not isinstance(publish(harness, "one")[0], Message)
    harness.restart(channels=5)
    assert isinstance(publish(harness, "one")[0], Message)


def test_old_keys_are_deleted(sqlite, monkeypatch):
    monkeypatch.setattr("pushd.backends.sqlite.key_rows.MAX_KEYS", 30)
    monkeypatch.setattr("pushd.backends.sqlite.key_rows._TRIM_EVERY", 10)
    harness = sqlite()
    for number in range(100):
        publish(harness, "x", key=IdempotencyKey(str(number), b""))
    assert 30 <= harness.sql("SELECT count(*) FROM idempotency_key")[0][0] <= 40
    harness.clock.advance(SECONDS + 1)
    for number in range(10):
        publish(harness, "x", key=IdempotencyKey(f"new {number}", b""))
    assert harness.sql("SELECT count(*) FROM idempotency_key")[0][0] <= 10
