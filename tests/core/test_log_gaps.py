"""What is gone is told: up to where, for what reason, to those it concerns and to nobody else."""

import pytest

from pushd.core.cursor import EVERYTHING, Age, Last, MessageId, Since, Time
from pushd.core.history import Bounds
from pushd.core.message import Gap
from tests.build import Log, at, cost, log_of, open_log, publish, read_log

ALL = 1 << 30


def gaps(log: Log, topics: str, since: Since, now: float = 100.0) -> list[tuple[str, ...]]:
    return [tuple(gap) for gap in open_log(log, topics, since, now).gaps]


def test_what_was_evicted_after_the_cursor_is_told_up_to_the_newest_that_went() -> None:
    log = log_of("aabaa", Bounds(messages=1))
    assert gaps(log, "a", at(1)) == [("a", "E-1", "E-4", "evicted")]
    assert gaps(log, "a", at(3)) == [("a", "E-3", "E-4", "evicted")]
    assert read_log(log, "a", at(1)) == [5]


def test_nothing_is_told_where_all_after_the_cursor_is_kept() -> None:
    log = log_of("aabaa", Bounds(messages=1))
    assert gaps(log, "a", at(4)) == []
    assert gaps(log, "a", at(5)) == []
    assert gaps(log, "b", at(0)) == []
    assert gaps(log, "silent,no/*", at(0)) == []


def test_what_expired_after_the_cursor_is_told() -> None:
    log = log_of("ab", Bounds(age=50))
    assert gaps(log, "a", at(0), now=51.0) == []
    assert gaps(log, "a", at(0), now=51.5) == [("a", "E-0", "E-1", "expired")]
    assert gaps(log, "b", at(0), now=51.5) == []
    assert gaps(log, "a", at(1), now=51.5) == []


def test_a_message_that_expired_between_two_that_are_kept_is_told() -> None:
    log = Log("E", Bounds())
    publish(log, "a")
    publish(log, "a", ttl=5.0)
    publish(log, "a")
    assert gaps(log, "a", at(0)) == [("a", "E-0", "E-2", "expired")]
    assert gaps(log, "a", at(2)) == []
    assert read_log(log, "a", at(0)) == [1, 3]


def test_what_went_for_the_bytes_of_all_is_told_too() -> None:
    log = log_of("aab", Bounds(total_bytes=2 * cost()))
    assert gaps(log, "a", at(0)) == [("a", "E-0", "E-1", "evicted")]


def test_messages_of_a_forgotten_channel_are_told_as_gone() -> None:
    log = log_of("aba")
    log.delete("a")
    for topic in ("a", "*", "**"):
        assert gaps(log, topic, at(1)) == [(topic, "E-1", "E-3", "evicted")]
        assert gaps(log, topic, at(3)) == []
    publish(log, "a")
    assert gaps(log, "a", at(1)) == [("a", "E-1", "E-3", "evicted")]
    assert read_log(log, "a", at(1)) == [4]


def test_a_pattern_is_told_the_newest_loss_of_all_it_covers_and_only_those() -> None:
    log = log_of("aabbcc", Bounds(messages=1))
    assert gaps(log, "*", at(0)) == [("*", "E-0", "E-5", "evicted")]
    assert gaps(log, "*", at(4)) == [("*", "E-4", "E-5", "evicted")]
    assert gaps(log, "*", at(5)) == []
    assert gaps(log, "x/*", at(0)) == []


def test_gaps_are_in_the_order_of_the_topics_one_for_each() -> None:
    log = log_of("aabb", Bounds(messages=1))
    assert [gap[0] for gap in gaps(log, "b,*,silent,a", at(0))] == ["b", "*", "a"]


def test_the_loss_of_one_channel_is_told_though_another_one_ended_since() -> None:
    log = log_of("abb", Bounds(messages=1))
    publish(log, "a", b"", now=4.0, end=True)
    assert gaps(log, "*", at(1)) == [("*", "E-1", "E-2", "evicted")]


@pytest.mark.parametrize("topics", ["a,b", "*,silent"])
def test_an_id_of_another_epoch_is_a_gap_and_then_all_that_is_kept(topics: str) -> None:
    log = log_of("aab", Bounds(messages=1))
    opening = open_log(log, topics, MessageId("F", 2))
    assert [gap.reason for gap in opening.gaps] == ["epoch", "epoch"]
    assert [gap.topic for gap in opening.gaps] == topics.split(",")
    assert {gap.start for gap in opening.gaps} == {"F-2"}
    assert opening.gaps[0].end == "E-1"
    assert opening.gaps[1].end == "E-0"
    assert opening.needs_replay and not opening.is_complete
    assert read_log(log, topics, opening.position) == [2, 3]


def test_an_id_of_another_epoch_is_a_gap_even_where_nothing_is_kept() -> None:
    opening = open_log(Log("E", Bounds()), "a", MessageId("F", 2))
    assert opening.gaps == (Gap("a", "F-2", "E-0", "epoch"),)


def test_an_id_that_was_never_given_is_a_gap_and_then_all_that_is_kept() -> None:
    log = log_of("ab")
    assert gaps(log, "a", at(3)) == [("a", "E-3", "E-0", "unknown")]
    assert read_log(log, "a", open_log(log, "a", at(3)).position) == [1]


def test_a_page_after_an_id_of_another_epoch_says_so_too() -> None:
    page = log_of("a").page_now(("a",), MessageId("F", 9), 10, ALL, 1.0)
    assert page.gaps == (Gap("a", "F-9", "E-0", "epoch"),)
    assert [each.seq for each in page.messages] == [1]


def test_where_nothing_is_known_of_a_channel_any_more_a_loss_is_possible_and_told() -> None:
    log = Log("E", Bounds(channels=2, age=10))
    publish(log, "a", now=0.0)
    publish(log, "b", now=20.0)
    publish(log, "c", now=20.0)
    assert log.info("a") is None
    for topics in ("a", "never", "*"):
        assert gaps(log, topics, at(0), now=20.0) == [(topics, "E-0", "E-1", "unknown")]
        assert gaps(log, topics, at(1), now=20.0) == []
    assert gaps(log, "b", at(0), now=20.0) == []


def test_the_loss_of_a_channel_that_was_forgotten_for_others_is_told_when_it_comes_back() -> None:
    log = Log("E", Bounds(channels=1, age=10))
    publish(log, "a", now=0.0)
    publish(log, "b", now=20.0)
    publish(log, "a", now=40.0)
    assert read_log(log, "a", at(0), now=40.0) == [3]
    assert [topic for topic, *_ in gaps(log, "a", at(0), now=40.0)] == ["a"]


def test_a_loss_that_is_known_does_not_hide_a_newer_one_that_is_not() -> None:
    log = Log("E", Bounds(messages=1, channels=2))
    publish(log, "b")
    publish(log, "b")
    publish(log, "a", ttl=5.0)
    publish(log, "c", now=6.0)
    assert log.info("a") is None
    told = log.open_now(("*",), at(0), 6.0, 6.0).gaps
    assert max(int(gap.end.removeprefix("E-")) for gap in told) == 3


@pytest.mark.parametrize("topic", ["a", "*"])
@pytest.mark.parametrize(
    ("since", "first", "told"),
    [
        (Age(30.0), 41, True),
        (Age(21.0), 41, True),
        (Age(20.0), 41, False),
        (Time(40.0), 41, True),
        (Time(50.0), 50, False),
    ],
)
def test_one_who_asks_for_a_time_is_told_what_is_gone_of_that_time(
    topic: str, since: Since, first: int, told: bool
) -> None:
    log = log_of("a" * 60, Bounds(messages=20))
    opening = open_log(log, topic, since, now=61.0)
    page = log.page_now((topic,), opening.position, 100, ALL, 61.0)
    assert [each.seq for each in page.messages] == list(range(first, 61))
    assert [(gap.end, gap.reason) for gap in opening.gaps] == [("E-40", "evicted")] * told
    assert not page.gaps or told


@pytest.mark.parametrize("since", [EVERYTHING, Last(2)], ids=str)
@pytest.mark.parametrize("topics", ["a", "*"])
def test_one_who_asks_for_what_is_kept_is_told_no_gap_for_what_went_before(since: Since, topics: str) -> None:
    log = log_of("aaaa", Bounds(messages=2))
    opening = open_log(log, topics, since)
    assert opening.gaps == ()
    page = log.page_now((topics,), opening.position, 10, ALL, 100.0)
    assert [each.seq for each in page.messages] == [3, 4]
    assert {(gap.topic, gap.end) for gap in page.gaps} <= {(gap.topic, gap.end) for gap in opening.known_gaps}


def test_what_is_lost_between_two_pages_is_told_with_the_next() -> None:
    log = log_of("aaaa", Bounds(messages=4))
    first = log.page_now(("a",), at(0), 1, ALL, 4.0)
    assert (first.gaps, first.position) == ((), at(1))
    publish(log, "a", now=5.0)
    publish(log, "a", now=6.0)
    second = log.page_now(("a",), first.position, 10, ALL, 6.0)
    assert second.gaps == (Gap("a", "E-1", "E-2", "evicted"),)
    assert [each.seq for each in second.messages] == [3, 4, 5, 6]


def test_a_foreign_cursor_of_a_pattern_is_told_up_to_what_may_be_lost_of_a_channel_that_came_back() -> None:
    log = Log("E", Bounds(channels=1, age=10))
    publish(log, "a", now=0.0)
    publish(log, "b", now=20.0)
    assert gaps(log, "b,*", MessageId("F", 9), now=20.0) == [("b", "F-9", "E-1", "epoch"), ("*", "F-9", "E-1", "epoch")]
