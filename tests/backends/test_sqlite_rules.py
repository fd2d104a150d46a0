"""Rules for channels in a file: what readers hide before the writer removes it, restarts, and reloads."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import chain

import pytest

from pushd.backends.sqlite import log_snapshot, loss_scan
from pushd.backends.sqlite.directory import connect
from pushd.backends.sqlite.history_reader import HistoryReader
from pushd.backends.sqlite.log_snapshot import LogSnapshot
from pushd.core.channel_rules import ChannelRule, ChannelRules, Retentions
from pushd.core.cursor import EVERYTHING, LATEST, Last, MessageId
from pushd.core.history import Bounds
from pushd.core.message import Message, draft
from pushd.core.names import matches
from tests.backends.sqlite_harness import SqliteHarness

Start = Callable[..., SqliteHarness]

RULES = ChannelRules([ChannelRule("short/*", age=2.0), ChannelRule("long/*", age=50.0)])
NONE = ChannelRules()
AGES = {"short": 2.0, "long": 50.0, "other": 10.0}
CHANNELS = [f"{group}/{number}" for group in AGES for number in range(4)]
TOPICS = [("**",), ("*/1", "*/2"), ("short/*",), ("long/*",), ("other/*", "long/3"), ("long/1", "short/1", "other/1")]


@pytest.fixture(params=[(1000, 2000), (0, 2000), (0, 3)], ids=["index", "scan", "many"])
def limits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Handle patterns by index, by a scan of the log, and as if more messages had expired than are read."""
    few, expired = request.param
    monkeypatch.setattr(log_snapshot, "_FEW_CHANNELS", few)
    monkeypatch.setattr(loss_scan, "_EXPIRED_ROWS", expired)


@pytest.fixture
def history(sqlite: Start) -> tuple[SqliteHarness, list[tuple[Message, float]]]:
    """A stopped backend that has removed nothing, and its messages with the log time of each."""
    harness = sqlite(age=1000.0)
    published: list[tuple[Message, float]] = []
    for second in range(20):
        for channel in CHANNELS[second % 3 :: 3]:
            published.append((harness.publish(channel), harness.backend._threads.now()))
        harness.clock.rightNow += 1
    harness.stop()
    return harness, published


@contextmanager
def reader_of(harness: SqliteHarness, now: float) -> Iterator[HistoryReader]:
    """Read the file with the rules as it is."""
    with closing(connect(harness.file, "ro")) as db:
        db.execute("BEGIN")
        yield HistoryReader(LogSnapshot(db, Retentions(Bounds(age=AGES["other"]), RULES), now))


@pytest.mark.usefixtures("limits")
@pytest.mark.parametrize("topics", TOPICS, ids=",".join)
def test_expired_messages_are_hidden_and_reported_before_they_are_removed(
    history: tuple[SqliteHarness, list[tuple[Message, float]]], topics: tuple[str, ...]
) -> None:
    harness, published = history
    epoch = published[0][0].epoch
    for now in (1.5, 9.5, 15.5, 20.5, 25.5, 40.5, 80.5):
        with reader_of(harness, now) as reader:
            kept = [
                message
                for message, born in published
                if born >= now - AGES[message.channel.partition("/")[0]]
                and any(matches(topic, message.channel) for topic in topics)
            ]
            for after in (0, 7, 40, len(published)):
                page = reader.page(topics, MessageId(epoch, after), 1000, 1 << 30)
                assert [each.seq for each in page.messages] == [each.seq for each in kept if each.seq > after]
                expected = {}
                for topic in topics:
                    lost = [each.seq for each, _ in published if matches(topic, each.channel) and each not in kept]
                    if lost and lost[-1] > after:
                        expected[topic] = f"{epoch}-{lost[-1]}"
                assert {gap.topic: gap.end for gap in page.gaps} == expected
                assert {gap.reason for gap in page.gaps} <= {"expired"}
            opening = reader.open(topics, EVERYTHING, 0.0)
            counts = {gap.topic: each.number for gap, each in zip(opening.known_gaps, opening.kept, strict=True)}
            for topic, count in counts.items():
                end = next(int(gap.end.rpartition("-")[2]) for gap in opening.known_gaps if gap.topic == topic)
                assert count == sum(matches(topic, each.channel) and each.seq <= end for each in kept)
            newest = {each.channel: each.seq for each in kept}
            latest = reader.open(topics, LATEST, 0.0)
            assert latest.position.seq == min(newest.values(), default=len(published) + 1) - 1
            last = reader.open(topics, Last(3), 0.0).position.seq
            assert last == ([each.seq for each in kept][-3:] or [len(published) + 1])[0] - 1
            for name in chain(*([topic] for topic in topics if "*" not in topic)):
                info = reader.info(name)
                assert info is not None
                assert info.messages == sum(each.channel == name for each in kept)


@pytest.mark.parametrize("tail_messages", [0, 10_000])
def test_message_is_not_delivered_from_memory_after_its_age(
    sqlite: Start, monkeypatch: pytest.MonkeyPatch, tail_messages: int
) -> None:
    monkeypatch.setattr("pushd.backends.sqlite.tail._MAX_MESSAGES", tail_messages)
    harness = sqlite()
    harness.backend.reconfigure(RULES)
    first = harness.publish("short/1")
    harness.clock.rightNow += 3
    messages, gaps = harness.replay_since("short/1", MessageId(first.epoch, 0))
    assert (messages, [gap.reason for gap in gaps]) == ([], ["expired"])


def test_message_is_not_delivered_from_memory_after_a_reload_has_shortened_its_age(sqlite: Start) -> None:
    harness = sqlite()
    first = harness.publish("short/1")
    harness.backend.reconfigure(RULES)
    harness.clock.rightNow += 3
    messages, gaps = harness.replay_since("short/1", MessageId(first.epoch, 0))
    assert (messages, [gap.reason for gap in gaps]) == ([], ["expired"])


@pytest.mark.parametrize("how", ["reload", "restart"])
def test_messages_of_a_longer_age_are_removed_when_it_ends(sqlite: Start, how: str) -> None:
    harness = sqlite(age=1.0)
    harness.backend.reconfigure(ChannelRules([ChannelRule("a", age=1000.0)]))
    for channel in "aba":
        harness.publish(channel)
    harness.clock.rightNow += 5
    harness.tick()
    harness.wait_until(lambda: harness.sql("SELECT count(*) FROM message") == [(2,)])
    if how == "reload":
        harness.backend.reconfigure(NONE)
    else:
        harness.restart()
    harness.tick()
    harness.wait_until(lambda: harness.sql("SELECT count(*) FROM message") == [(0,)])
    assert [gap.reason for gap in harness.open("a", harness.cursor_at(0)).gaps] == ["expired"]


def test_restart_with_other_rules_shortens_channels_in_small_steps(sqlite: Start) -> None:
    harness = sqlite(messages=5000)
    for _ in range(3):
        harness.publish_all(*[draft(channel, b"x") for channel in ("a", "b") for _ in range(500)])
    harness.rules = ChannelRules([ChannelRule("a", messages=3)])
    harness.restart()
    harness.wait_until(lambda: harness.sql("SELECT count(*) FROM message WHERE channel = 1") == [(3,)])
    assert len(harness.stored("a")) == 3
    assert len(harness.stored("b")) == 1500
    harness.rules = NONE
    harness.restart()
    for _ in range(4):
        harness.publish("a")
    assert len(harness.stored("a")) == 7


def test_reload_while_the_file_cannot_be_written_is_applied_when_it_can(sqlite: Start) -> None:
    harness = sqlite()
    for _ in range(5):
        harness.publish("a")
    writer = harness.backend._threads._writer_thread._writer
    assert writer is not None
    writer.db.execute("PRAGMA query_only = ON")
    harness.backend.reconfigure(ChannelRules([ChannelRule("a", messages=2)]))
    harness.wait_until(lambda: len(harness.health_reasons) == 2)
    assert harness.health_reasons[-1] is None
    harness.wait_until(lambda: harness.clock.wait(harness.backend.usage()).messages == 2)
    assert len(harness.stored("a")) == 2
