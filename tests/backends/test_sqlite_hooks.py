"""Events of hooks and dead letters outlast restarts, crashes and damage, and are stored with their messages."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, gatherResults

from pushd.backends.hook_outbox import HookBounds, HookEvent
from pushd.backends.sqlite.hook_rows import HookLedger
from pushd.backends.sqlite.schema import migrate
from pushd.core.channel_rules import DEAD_RULE, ChannelRules
from pushd.core.errors import StorageFailed
from pushd.core.message import draft
from tests.backends.contract_hooks import FULL, HooksByPattern
from tests.backends.hook_publisher import BACKLOG

MANY = 1 << 30
ROOT = Path(__file__).parent.parent.parent


def configure(harness, **bounds):
    """Configure the hook ``full`` for publishes to ``p``."""
    harness.backend.hooks.reconfigure({"full": HookBounds(**bounds)}, HooksByPattern({"p": [FULL]}), lambda hook: None)
    return harness


@pytest.fixture
def harness(sqlite):
    """A backend with a hook."""
    harness = sqlite()
    harness.rules = ChannelRules((DEAD_RULE,))
    harness.restart()
    return configure(harness)


def add(harness, *words):
    """Add events."""
    events = [HookEvent("full", "c", json.dumps(word).encode()) for word in words]
    harness.clock.wait(harness.backend.hooks.add(events))


def queued(harness, count=1000):
    """Return the oldest events."""
    return harness.clock.wait(harness.backend.hooks.first("full", count, MANY))


def names(harness):
    """Return the ids of the messages of all events of publishes, and the bodies of others."""
    bodies = [json.loads(event.body) for event in queued(harness)]
    return [body if isinstance(body, str) else body["message"]["id"] for body in bodies]


def backlog(harness):
    """Return the backlog."""
    return harness.clock.wait(harness.backend.hooks.backlog("full"))


def confirm(harness, through):
    """Confirm events."""
    harness.clock.wait(harness.backend.hooks.confirm("full", through))


def dead(harness):
    """Return the stored dead letters."""
    return [json.loads(message.data)["event"] for message in harness.stored("$hooks/dead/full")]


@pytest.mark.parametrize("again", ["restart", "crash"])
def test_events_and_dead_letters_are_the_same_after(harness, again):
    add(harness, "a", "b", "c")
    message = harness.publish("p")
    harness.clock.wait(harness.backend.hooks.dead_letter("full", queued(harness)[0].number, "x"))
    confirm(harness, queued(harness)[0].number)
    before = queued(harness), backlog(harness)
    other = getattr(harness, again)()
    try:
        assert (queued(other), backlog(other)) == before
        assert names(other) == ["c", message.id]
        assert dead(other) == ["a"]
        configure(other)
        last = before[0][-1].number
        confirm(other, last)
        add(other, "d")
        assert queued(other)[0].number > last
        assert backlog(other)[3] == 1
    finally:
        if other is not harness:
            other.stop()


def test_number_is_not_used_again_after_a_restart(harness):
    add(harness, "a", "b")
    last = queued(harness)[-1].number
    confirm(harness, last)
    harness.restart()
    add(harness, "c")
    assert queued(harness)[0].number == last + 1


def test_commit_that_fails_stores_neither_the_message_nor_its_event(harness, monkeypatch):
    kept = harness.publish("p")
    writer = harness.backend._threads._writer_thread._writer
    monkeypatch.setattr(writer, "_commit", lambda *times: (_ for _ in ()).throw(sqlite3.OperationalError("full")))
    (refused,) = harness.publish_all(draft("p", b"x"))
    assert isinstance(refused, StorageFailed)
    with pytest.raises(StorageFailed):
        add(harness, "a")
    with pytest.raises(StorageFailed):
        confirm(harness, MANY)
    harness.wait_until(lambda: harness.backend._unavailable_reason is None)
    assert names(harness) == [kept.id]
    assert backlog(harness).events == 1
    again = harness.publish("p")
    assert names(harness) == [kept.id, again.id]
    assert [message.id for message in harness.restart().stored("p")] == names(harness) == [kept.id, again.id]


def test_many_publishes_at_once_have_their_events_in_order(harness):
    publishes = [Deferred.fromCoroutine(harness.backend.publish([draft("p", b"%d" % number)])) for number in range(300)]

    async def all_of():
        return await gatherResults(publishes)

    results = harness.clock.wait(all_of())
    assert names(harness) == [message.id for (message,) in results]


def test_backlog_beyond_its_bound_is_trimmed_while_publishes_continue(harness):
    configure(harness, events=50)
    for first in range(0, 300, 60):
        harness.publish_all(*[draft("p", b"%d" % number) for number in range(first, first + 60)])
    assert [json.loads(event.body)["message"]["data"] for event in queued(harness)] == [
        str(number) for number in range(250, 300)
    ]
    assert [event["message"]["data"] for event in dead(harness)] == [str(number) for number in range(250)]
    assert backlog(harness)[0] == 50
    assert harness.sql("SELECT count(*) FROM hook_event") == [(50,)]
    assert backlog(harness) == backlog(harness.restart())


def test_damaged_event_is_skipped(harness):
    add(harness, "a", "b", "c")
    number = queued(harness)[1].number
    harness.sql("UPDATE hook_event SET body = x'00' WHERE number = ?", number)
    assert names(harness) == ["a", "c"]
    harness.clock.wait(harness.backend.hooks.dead_letter("full", number, "x"))
    assert dead(harness) == ["a"]
    assert names(harness) == ["c"]


def test_file_that_is_recovered_keeps_intact_events(harness):
    other = harness.publish("other")
    message = harness.publish("p")
    add(harness, "a", "b")
    harness.sql("UPDATE hook_event SET time = 5 WHERE number = 2")
    harness.stop()
    harness.sql("UPDATE message SET data = x'00' WHERE seq = ?", message.seq)
    harness.start()
    assert [each.seq for each in harness.stored()] == [other.seq]
    assert names(harness) == [message.id, "b"]
    last = queued(harness)[-1].number
    add(harness, "c")
    assert queued(harness)[-1].number > last


@pytest.mark.system
def test_every_accepted_message_has_its_event_after_kill_9(sqlite, tmp_path):
    accepted = []
    for _ in range(3):
        command = [sys.executable, "-m", "tests.backends.hook_publisher", str(tmp_path / "data")]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(40):
                accepted += process.stdout.readline().split()
            process.kill()
            accepted += process.stdout.read().rpartition("\n")[0].split()
    harness = sqlite()
    events = [event["id"] for event in dead(harness)] + [json.loads(event.body)["id"] for event in queued(harness)]
    assert len(events) == len(set(events))
    assert [id for id in events if id.removesuffix("-full") in set(accepted)] == [f"{id}-full" for id in accepted]
    assert backlog(harness).events == BACKLOG
    numbers = [event.number for event in queued(harness)]
    assert numbers == sorted(numbers)


def test_file_of_an_older_version_gets_the_tables():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        migrate(db, "E", 0.0, 7)
        migrate(db, "E", 0.0)
        assert HookLedger(db).backlogs == {}
