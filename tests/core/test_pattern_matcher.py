"""The matcher of many topics agrees with the rule of names, and its work does not grow with the number of topics."""

import itertools
import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.core import pattern_matcher
from pushd.core.names import check_topic, is_pattern, matches
from pushd.core.pattern_matcher import PatternMatcher

SEGMENTS = ["a", "b", "$c"]
CHANNELS = st.lists(st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=4).map("/".join), min_size=1, max_size=8)
TOPICS = st.lists(
    st.builds(
        lambda segments, last: "/".join([*segments, last]),
        st.lists(st.sampled_from([*SEGMENTS, "*"]), max_size=3),
        st.sampled_from([*SEGMENTS, "*", "**"]),
    ).map(check_topic),
    max_size=12,
    unique=True,
)


@given(TOPICS, CHANNELS)
def test_it_covers_what_the_rule_of_names_covers(topics: list[str], channels: list[str]) -> None:
    matcher = PatternMatcher(topics)
    for channel in channels:
        assert matcher.covers(channel) == any(matches(topic, channel) for topic in topics)


@given(TOPICS, CHANNELS, st.sampled_from([0, 5, 1 << 16]))
def test_each_pattern_is_taken_by_the_first_channel_that_it_matches(
    topics: list[str], channels: list[str], cached: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pattern_matcher, "_CACHED", cached)
        matcher = PatternMatcher(topics)
        left = {topic for topic in topics if is_pattern(topic)}
        for channel in channels:
            assert matcher.is_exhausted == (not left)
            taken = matcher.take(channel)
            assert len(taken) == len(set(taken))
            assert set(taken) == {pattern for pattern in left if matches(pattern, channel)}
            left -= set(taken)


def _calls(matcher: PatternMatcher, channels: list[str]) -> int:
    """Return how many Python functions are called while the channels are matched."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(trace)
    try:
        for channel in channels:
            matcher.take(channel)
    finally:
        sys.setprofile(None)
    return count


CHANNELS_OF_ONE_SHAPE = ["/".join(["a"] * 10 + [str(number)]) for number in range(500)]


@pytest.mark.parametrize(
    "patterns",
    [
        [f"*/x{number}/*" for number in range(1000)],
        ["/".join([*segments, "x"]) for segments in itertools.product("a*", repeat=10) if "*" in segments],
        ["**" if not depth else "/".join(["*"] * depth + ["x", "**"]) for depth in range(100)],
    ],
    ids=["literals", "overlapping", "deep"],
)
def test_many_patterns_take_no_longer_than_one(patterns: list[str]) -> None:
    many, one = PatternMatcher(patterns), PatternMatcher(["/".join(["*"] * 11 + ["x"])])
    for matcher in (many, one):
        matcher.take(CHANNELS_OF_ONE_SHAPE[0])  # which computes the transitions
    assert _calls(one, CHANNELS_OF_ONE_SHAPE) >= len(CHANNELS_OF_ONE_SHAPE)
    assert _calls(many, CHANNELS_OF_ONE_SHAPE) <= 2 * _calls(one, CHANNELS_OF_ONE_SHAPE)
