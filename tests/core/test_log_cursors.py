"""Cursors: where a subscription starts, the pages of its replay, and its end."""

import pytest

from pushd.core.cursor import EVERYTHING, NOW, Age, Last, Since, Time
from pushd.core.history import Bounds
from pushd.core.replay import StartPosition
from tests.build import Log, at, log_of, message, open_log, publish, read_log

ALL = 1 << 30


# Start positions


@pytest.mark.parametrize(
    ("since", "seqs"),
    [
        (NOW, []),
        (EVERYTHING, [1, 3, 5, 6]),
        (at(0), [1, 3, 5, 6]),
        (at(1), [3, 5, 6]),
        (at(2), [3, 5, 6]),
        (at(5), [6]),
        (at(6), []),
        (at(7), []),
        (Last(1), [6]),
        (Last(3), [3, 5, 6]),
        (Last(100), [1, 3, 5, 6]),
        (Age(95.0), [5, 6]),
        (Age(95.5), [5, 6]),
        (Age(1.0), []),
        (Age(1000.0), [1, 3, 5, 6]),
        (Time(5.0), [5, 6]),
        (Time(5.1), [6]),
        (Time(0.0), [1, 3, 5, 6]),
        (Time(7.0), []),
    ],
    ids=str,
)
@pytest.mark.parametrize("topics", ["a/1,b/1,silent", "*/1", "a/*,b/1,*/1"])
def test_each_form_of_since_has_documented_start(since: Since, seqs: list[int], topics: str) -> None:
    log = Log("E", Bounds())
    for second, channel in enumerate(["a/1", "x", "b/1", "x", "a/1", "b/1", "x"], 1):
        publish(log, channel, now=float(second))
    opening = open_log(log, topics, since)
    assert opening.gaps == ()
    assert not opening.is_complete
    assert read_log(log, topics, opening.position) == seqs
    assert opening.needs_replay or not seqs


def test_cursor_at_newest_message_needs_no_replay() -> None:
    log = log_of("ab")
    assert not open_log(log, "a", NOW).needs_replay
    assert not open_log(log, "a", at(2)).needs_replay
    assert open_log(log, "a", at(1)).needs_replay


@pytest.mark.parametrize("since", [NOW, EVERYTHING, Last(5), Age(60.0), Time(3.0)], ids=str)
def test_empty_log_has_no_gaps(since: Since) -> None:
    opening = open_log(Log("E", Bounds()), "a,*", since)
    assert opening == StartPosition(at(0), (), needs_replay=False, is_complete=False)


# Pages


def read_pages(log: Log, topics: str, count: int, size: int = ALL) -> list[list[int]]:
    found, position = [], at(0)
    while True:
        page = log.page_now(tuple(topics.split(",")), position, count, size, 100.0)
        found.append([each.seq for each in page.messages])
        assert page.position.seq >= max(found[-1], default=0)
        if page.is_last:
            assert page.position == at(log.head)
            return found
        assert page.position.seq > position.seq
        position = page.position


@pytest.mark.parametrize("topics", ["a,b", "*/1,b,a", "a,*"])
def test_pages_are_limited_by_count_and_last_one_is_marked(topics: str) -> None:
    log = log_of("abbab")
    assert read_pages(log, topics, 2) == [[1, 2], [3, 4], [5]]
    assert read_pages(log, topics, 5) == [[1, 2, 3, 4, 5]]


@pytest.mark.parametrize("topics", ["a,b", "*"])
def test_pages_are_limited_by_bytes_but_have_at_least_one_message(topics: str) -> None:
    log = log_of("abbab")
    size = message().size
    assert read_pages(log, topics, 100, 2 * size) == [[1, 2], [3, 4], [5]]
    assert read_pages(log, topics, 100, size + 1) == [[1, 2], [3, 4], [5]]
    assert read_pages(log, topics, 100, 1) == [[1], [2], [3], [4], [5]]


def test_pattern_among_many_other_messages_is_read_to_the_end() -> None:
    log = Log("E", Bounds(messages=100_000, channels=10))
    for channel in ["a/1", *["x"] * 45_000, "a/2"]:
        publish(log, channel)
    found = read_pages(log, "a/*", 10)
    assert [seq for page in found for seq in page] == [1, 45_002]
    assert len(found) > 1


# Ends


def test_subscription_is_complete_if_all_channels_ended_and_were_read() -> None:
    log = log_of("ab")
    publish(log, "a", b"", now=3.0, end=True)
    assert open_log(log, "a", at(1)).is_complete
    assert open_log(log, "a", NOW).is_complete
    assert not open_log(log, "a", at(0)).is_complete
    assert not open_log(log, "a,b", at(3)).is_complete
    publish(log, "b", b"last", now=4.0, end=True)
    assert not open_log(log, "a,b", at(3)).is_complete
    assert open_log(log, "a,b", at(4)).is_complete


def test_pattern_never_ends() -> None:
    log = log_of("a")
    publish(log, "a", b"", now=2.0, end=True)
    assert not open_log(log, "*", at(2)).is_complete
    assert log.page_now(("*",), at(0), 10, ALL, 2.0).ended == ()


def test_only_last_page_names_ended_channels() -> None:
    log = log_of("aab")
    publish(log, "a", b"", now=4.0, end=True)
    assert log.page_now(("a", "b"), at(0), 1, ALL, 4.0).ended == ()
    assert log.page_now(("a", "b"), at(1), 10, ALL, 4.0).ended == ("a",)


def test_gap_in_ended_channel_is_reported_before_the_end() -> None:
    log = log_of("aa", Bounds(messages=1))
    publish(log, "a", b"", now=3.0, end=True)
    opening = open_log(log, "a", at(0))
    assert (opening.is_complete, opening.needs_replay) == (False, True)
    assert [gap.reason for gap in opening.gaps] == ["evicted"]


def test_deleted_channel_is_complete_for_a_cursor_but_not_for_a_new_subscriber() -> None:
    log = log_of("a")
    log.delete("a")
    assert open_log(log, "a", at(1)).is_complete
    assert not open_log(log, "a", NOW).is_complete
    assert not open_log(log, "a", EVERYTHING).is_complete
    assert log.page_now(("a",), at(0), 10, ALL, 2.0).ended == ()
    publish(log, "a", now=5.0)
    assert not open_log(log, "a", at(1)).is_complete
