"""Gaps: lost messages are reported with the right end and reason, and nothing else is."""

import pytest

from pushd.core.cursor import EVERYTHING, Age, Last, MessageId, Since, Time
from pushd.core.history import Bounds
from pushd.core.message import Gap
from tests.build import Log, at, cost, log_of, open_log, publish, read_log

ALL = 1 << 30


def gaps(log: Log, topics: str, since: Since, now: float = 100.0) -> list[tuple[str, ...]]:
    return [tuple(gap) for gap in open_log(log, topics, since, now).gaps]


def test_gap_ends_at_newest_message_evicted_after_cursor() -> None:
    log = log_of("aabaa", Bounds(messages=1))
    assert gaps(log, "a", at(1)) == [("a", "E-1", "E-4", "evicted")]
    assert gaps(log, "a", at(3)) == [("a", "E-3", "E-4", "evicted")]
    assert read_log(log, "a", at(1)) == [5]


def test_no_gap_if_all_messages_after_cursor_are_kept() -> None:
    log = log_of("aabaa", Bounds(messages=1))
    assert gaps(log, "a", at(4)) == []
    assert gaps(log, "a", at(5)) == []
    assert gaps(log, "b", at(0)) == []
    assert gaps(log, "silent,no/*", at(0)) == []


def test_expired_messages_after_cursor_are_a_gap() -> None:
    log = log_of("ab", Bounds(age=50))
    assert gaps(log, "a", at(0), now=51.0) == []
    assert gaps(log, "a", at(0), now=51.5) == [("a", "E-0", "E-1", "expired")]
    assert gaps(log, "b", at(0), now=51.5) == []
    assert gaps(log, "a", at(1), now=51.5) == []


def test_expired_message_between_kept_ones_is_a_gap() -> None:
    log = Log("E", Bounds())
    publish(log, "a")
    publish(log, "a", ttl=5.0)
    publish(log, "a")
    assert gaps(log, "a", at(0)) == [("a", "E-0", "E-2", "expired")]
    assert gaps(log, "a", at(2)) == []
    assert read_log(log, "a", at(0)) == [1, 3]


def test_messages_evicted_for_total_bytes_are_a_gap() -> None:
    log = log_of("aab", Bounds(total_bytes=2 * cost()))
    assert gaps(log, "a", at(0)) == [("a", "E-0", "E-1", "evicted")]


def test_messages_of_deleted_channel_are_a_gap() -> None:
    log = log_of("aba")
    log.delete("a")
    for topic in ("a", "*", "**"):
        assert gaps(log, topic, at(1)) == [(topic, "E-1", "E-3", "evicted")]
        assert gaps(log, topic, at(3)) == []
    publish(log, "a")
    assert gaps(log, "a", at(1)) == [("a", "E-1", "E-3", "evicted")]
    assert read_log(log, "a", at(1)) == [5]


def test_gap_of_pattern_ends_at_newest_loss_of_matching_channels() -> None:
    log = log_of("aabbcc", Bounds(messages=1))
    assert gaps(log, "*", at(0)) == [("*", "E-0", "E-5", "evicted")]
    assert gaps(log, "*", at(4)) == [("*", "E-4", "E-5", "evicted")]
    assert gaps(log, "*", at(5)) == []
    assert gaps(log, "x/*", at(0)) == []


def test_gaps_are_in_order_of_topics_with_one_each() -> None:
    log = log_of("aabb", Bounds(messages=1))
    assert [gap[0] for gap in gaps(log, "b,*,silent,a", at(0))] == ["b", "*", "a"]


def test_gap_of_pattern_is_reported_after_end_of_another_channel() -> None:
    log = log_of("abb", Bounds(messages=1))
    publish(log, "a", b"", now=4.0, end=True)
    assert gaps(log, "*", at(1)) == [("*", "E-1", "E-2", "evicted")]


@pytest.mark.parametrize("topics", ["a,b", "*,silent"])
def test_cursor_of_another_epoch_is_a_gap_and_a_full_replay(topics: str) -> None:
    log = log_of("aab", Bounds(messages=1))
    opening = open_log(log, topics, MessageId("F", 2))
    assert [gap.reason for gap in opening.gaps] == ["epoch", "epoch"]
    assert [gap.topic for gap in opening.gaps] == topics.split(",")
    assert {gap.start for gap in opening.gaps} == {"F-2"}
    assert opening.gaps[0].end == "E-1"
    assert opening.gaps[1].end == "E-0"
    assert opening.needs_replay and not opening.is_complete
    assert read_log(log, topics, opening.position) == [2, 3]


def test_cursor_of_another_epoch_is_a_gap_in_empty_log() -> None:
    opening = open_log(Log("E", Bounds()), "a", MessageId("F", 2))
    assert opening.gaps == (Gap("a", "F-2", "E-0", "epoch"),)


def test_cursor_beyond_head_is_a_gap_and_a_full_replay() -> None:
    log = log_of("ab")
    assert gaps(log, "a", at(3)) == [("a", "E-3", "E-0", "unknown")]
    assert read_log(log, "a", open_log(log, "a", at(3)).position) == [1]


def test_page_after_cursor_of_another_epoch_has_gap() -> None:
    page = log_of("a").page_now(("a",), MessageId("F", 9), 10, ALL, 1.0)
    assert page.gaps == (Gap("a", "F-9", "E-0", "epoch"),)
    assert [each.seq for each in page.messages] == [1]


def test_forgotten_channel_is_an_unknown_gap() -> None:
    log = Log("E", Bounds(channels=2, age=10))
    publish(log, "a", now=0.0)
    publish(log, "b", now=20.0)
    publish(log, "c", now=20.0)
    assert log.info("a") is None
    for topics in ("a", "never", "*"):
        assert gaps(log, topics, at(0), now=20.0) == [(topics, "E-0", "E-1", "unknown")]
        assert gaps(log, topics, at(1), now=20.0) == []
    assert gaps(log, "b", at(0), now=20.0) == []


def test_gap_of_forgotten_channel_is_reported_after_it_is_created_again() -> None:
    log = Log("E", Bounds(channels=1, age=10))
    publish(log, "a", now=0.0)
    publish(log, "b", now=20.0)
    publish(log, "a", now=40.0)
    assert read_log(log, "a", at(0), now=40.0) == [3]
    assert [topic for topic, *_ in gaps(log, "a", at(0), now=40.0)] == ["a"]


def test_recorded_loss_does_not_hide_newer_loss_of_forgotten_channel() -> None:
    log = Log("E", Bounds(messages=1, channels=2))
    publish(log, "b")
    publish(log, "b")
    publish(log, "a", ttl=5.0)
    publish(log, "c", now=6.0)
    assert log.info("a") is None
    found = log.open_now(("*",), at(0), 6.0, 6.0).gaps
    assert max(int(gap.end.removeprefix("E-")) for gap in found) == 3


@pytest.mark.parametrize("topic", ["a", "*"])
@pytest.mark.parametrize(
    ("since", "first", "has_gap"),
    [
        (Age(30.0), 41, True),
        (Age(21.0), 41, True),
        (Age(20.0), 41, False),
        (Time(40.0), 41, True),
        (Time(50.0), 50, False),
    ],
)
def test_start_by_time_reports_gap_of_that_time(topic: str, since: Since, first: int, has_gap: bool) -> None:
    log = log_of("a" * 60, Bounds(messages=20))
    opening = open_log(log, topic, since, now=61.0)
    page = log.page_now((topic,), opening.position, 100, ALL, 61.0)
    assert [each.seq for each in page.messages] == list(range(first, 61))
    assert [(gap.end, gap.reason) for gap in opening.gaps] == [("E-40", "evicted")] * has_gap
    assert not page.gaps or has_gap


@pytest.mark.parametrize("since", [EVERYTHING, Last(2)], ids=str)
@pytest.mark.parametrize("topics", ["a", "*"])
def test_start_with_kept_messages_has_no_gap_for_earlier_losses(since: Since, topics: str) -> None:
    log = log_of("aaaa", Bounds(messages=2))
    opening = open_log(log, topics, since)
    assert opening.gaps == ()
    page = log.page_now((topics,), opening.position, 10, ALL, 100.0)
    assert [each.seq for each in page.messages] == [3, 4]
    assert {(gap.topic, gap.end) for gap in page.gaps} <= {(gap.topic, gap.end) for gap in opening.known_gaps}


def test_loss_between_pages_is_reported_with_next_page() -> None:
    log = log_of("aaaa", Bounds(messages=4))
    first = log.page_now(("a",), at(0), 1, ALL, 4.0)
    assert (first.gaps, first.position) == ((), at(1))
    publish(log, "a", now=5.0)
    publish(log, "a", now=6.0)
    second = log.page_now(("a",), first.position, 10, ALL, 6.0)
    assert second.gaps == (Gap("a", "E-1", "E-2", "evicted"),)
    assert [each.seq for each in second.messages] == [3, 4, 5, 6]


def test_gap_of_pattern_for_foreign_cursor_ends_at_possible_loss_of_recreated_channel() -> None:
    log = Log("E", Bounds(channels=1, age=10))
    publish(log, "a", now=0.0)
    publish(log, "b", now=20.0)
    assert gaps(log, "b,*", MessageId("F", 9), now=20.0) == [("b", "F-9", "E-1", "epoch"), ("*", "F-9", "E-1", "epoch")]
