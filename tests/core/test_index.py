"""The index: it finds exactly the subscribers whose topic matches a channel, and examines no others."""

import gc
import pickle
import sys
from collections.abc import Callable
from random import Random
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.core.index import TopicIndex
from pushd.core.names import check_topic, matches

SEGMENTS = ["a", "b", "$c"]
CHANNELS = st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=3).map("/".join)
TOPICS = st.builds(
    lambda segments, last: "/".join([*segments, last]),
    st.lists(st.sampled_from([*SEGMENTS, "*"]), max_size=2),
    st.sampled_from([*SEGMENTS, "*", "**"]),
).map(check_topic)
CHANGES = st.lists(st.tuples(st.booleans(), TOPICS, st.integers(0, 3)), max_size=30)
DEEP = "a/" * 8
"""A prefix that makes patterns with a wildcard after it, before their last segment, deep; see `core.pattern_table`."""
PREFIXES = st.sampled_from(["", DEEP])


@given(PREFIXES, CHANGES, st.lists(CHANNELS, min_size=1, max_size=5))
def test_index_agrees_with_matches_after_every_change(
    prefix: str, changes: list[tuple[bool, str, int]], channels: list[str]
) -> None:
    changes = [(added, prefix + topic, subscriber) for added, topic, subscriber in changes]
    channels = [prefix + channel for channel in channels]
    index: TopicIndex[int] = TopicIndex()
    model: set[tuple[str, int]] = set()
    for added, topic, subscriber in changes:
        if added:
            index.add(topic, subscriber)
            model.add((topic, subscriber))
        else:
            index.remove(topic, subscriber)
            model.discard((topic, subscriber))
        for channel in channels:
            found = list(index.match(channel))
            assert len(found) == len(set(found))
            assert set(found) == {each for wanted, each in model if matches(wanted, channel)}
            assert set(index.by_name(channel)) == {each for wanted, each in model if wanted == channel}
        assert len(index) == len({topic for topic, _ in model if "*" not in topic})


@given(PREFIXES, CHANGES, CHANNELS)
def test_index_is_empty_after_all_subscribers_are_removed(
    prefix: str, changes: list[tuple[bool, str, int]], channel: str
) -> None:
    changes = [(added, prefix + topic, subscriber) for added, topic, subscriber in changes]
    index: TopicIndex[int] = TopicIndex()
    for added, topic, subscriber in changes:
        (index.add if added else index.remove)(topic, subscriber)
    index.match(prefix + channel)
    index.add("**", 9)
    for _, topic, subscriber in [*changes, (True, "**", 9)]:
        index.remove(topic, subscriber)
    assert pickle.dumps(index) == pickle.dumps(TopicIndex())


def test_subscribers_are_found_in_order_of_subscription() -> None:
    index: TopicIndex[str] = TopicIndex()
    for name in ("first", "second", "third"):
        index.add("a", name)
    assert list(index.match("a")) == ["first", "second", "third"]


def test_channel_without_subscribers_has_no_match() -> None:
    index: TopicIndex[str] = TopicIndex()
    index.add("b", "other")
    assert not index.match("a")
    assert not index.by_name("a")


def test_match_does_not_change_later_matches() -> None:
    """A match joins several dictionaries and must change none of them."""
    index: TopicIndex[str] = TopicIndex()
    index.add("a", "exact")
    index.add("*", "one")
    index.add("**", "all")
    assert set(index.match("a")) == {"exact", "one", "all"}
    assert set(index.match("b")) == {"one", "all"}
    assert set(index.by_name("a")) == {"exact"}
    assert set(index.match("c/d")) == {"all"}


def lines_run(call: Callable[[], object]) -> int:
    """Return the number of lines of Python that a call runs."""
    count = 0

    def trace(_: FrameType, __: str, ___: Any) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    gc.disable()  # lines run by a collection would be counted too
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
        gc.enable()
    return count


@pytest.mark.parametrize("topic", ["other/{}", "other/{}/*", "other/{}/**", "*/{}", "deep/*/{}/**"])
def test_cost_of_match_does_not_depend_on_unrelated_subscribers(topic: str) -> None:
    def cost(unrelated: int) -> tuple[int, int]:
        index: TopicIndex[int] = TopicIndex()
        for subscriber in range(unrelated):
            index.add(topic.format(subscriber), subscriber)
        index.add("here/now", -1)
        index.add("here/*", -2)
        first, again = (lines_run(lambda: index.match("here/now")) for _ in range(2))
        assert set(index.match("here/now")) == {-1, -2}
        return first, again

    assert cost(3000) == cost(3)


def test_cache_of_matches_is_bounded() -> None:
    index: TopicIndex[int] = TopicIndex()
    index.add("**", 1)

    def size_after(count: int) -> int:
        for number in range(count):
            index.match(f"channel/{number:06}")
        return len(pickle.dumps(index))

    usual = size_after(15_000)
    assert size_after(60_000) <= 1.05 * usual


@pytest.mark.parametrize("depth", [4, 8, 9, 16, 100])
def test_cost_of_match_is_bounded_for_patterns_that_differ_in_their_wildcards(depth: int) -> None:
    random = Random(depth)
    index: TopicIndex[int] = TopicIndex()
    for number in range(3_000):
        index.add("/".join(random.choice("a*") for _ in range(depth)) + "/**", number)
    cost = lines_run(lambda: index.match("a/" * depth + "x"))
    assert len(index.match("a/" * depth + "x")) == 3_000
    assert cost < 30_000, (
        "some for each subscriber, segment and block of patterns; not for each segment of each pattern"
    )


@pytest.mark.parametrize("depth", [4, 100])
def test_cost_of_match_for_a_subscriber_of_many_matching_patterns(depth: int) -> None:
    """The cache is cleared whenever anyone subscribes to a pattern, so this is the cost of any publish."""
    random = Random(depth)
    index: TopicIndex[int] = TopicIndex()
    for _ in range(10_000):
        index.add("/".join(random.choice("a*") for _ in range(depth)) + "/**", 1)
    assert lines_run(lambda: index.match("a/" * depth + "x")) < 12_000
    assert index.match("a/" * depth + "x") == (1,)
