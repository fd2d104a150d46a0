"""All patterns of a set are matched at once, with the same result as one by one, and in bounded time."""

import time

from hypothesis import given
from hypothesis import strategies as st

from pushd.core.names import Interest, check_channel, check_topic, matches
from pushd.core.patterns import BLOCK_SIZE, PatternSet, UnmatchedPatterns

SEGMENTS = st.sampled_from(["a", "b", "$a"])
PATTERNS = st.builds(
    lambda start, rest: "/".join([*start, *rest]) if "*" in start or rest else "/".join(["*", *start]),
    st.lists(SEGMENTS | st.just("*"), max_size=4),
    st.sampled_from([[], ["**"]]),
)
CHANNELS = st.lists(SEGMENTS, min_size=1, max_size=6).map("/".join)


@given(st.lists(PATTERNS, max_size=12), CHANNELS)
def test_pattern_set_agrees_with_matches(patterns: list[str], channel: str) -> None:
    wanted = [number for number, pattern in enumerate(patterns) if matches(check_topic(pattern), channel)]
    assert PatternSet(patterns).matching(channel) == sum(1 << number for number in wanted)
    assert PatternSet(patterns).matches(channel) == bool(wanted)


@given(st.lists(PATTERNS, max_size=12, unique=True), st.lists(CHANNELS, min_size=1, max_size=8))
def test_pattern_is_taken_by_first_matching_channel(patterns: list[str], channels: list[str]) -> None:
    unmatched = UnmatchedPatterns(patterns)
    left = list(patterns)
    for channel in channels:
        assert unmatched.is_empty == (not left)
        taken = unmatched.take(channel)
        assert taken == [pattern for pattern in left if matches(pattern, channel)]
        left = [pattern for pattern in left if pattern not in taken]


def test_patterns_of_several_blocks_keep_their_numbers() -> None:
    patterns = PatternSet([f"{number}/*" for number in range(2 * BLOCK_SIZE + 1)])
    for number in (0, BLOCK_SIZE - 1, BLOCK_SIZE, 2 * BLOCK_SIZE):
        assert patterns.matching(f"{number}/x") == 1 << number
    assert not patterns.matches(f"{2 * BLOCK_SIZE + 1}/x")


def test_set_is_compiled_one_block_per_step() -> None:
    patterns = PatternSet([f"{number}/*" for number in range(2 * BLOCK_SIZE + 1)])
    assert sum(1 for _ in patterns.compile()) == 2
    assert sum(1 for _ in patterns.compile()) == 0
    assert len(patterns) == 2 * BLOCK_SIZE + 1
    assert patterns.matching(f"{BLOCK_SIZE}/x") == 1 << BLOCK_SIZE


def test_near_matches_of_thousand_patterns_cost_one_lookup_per_segment() -> None:
    flags = [f"{number:010b}" for number in range(1000)]
    head = ["/".join("a" if flag == "1" else "*" for flag in each) for each in flags]
    patterns = PatternSet([check_topic(each + "/*" * 117) for each in head])
    channel = check_channel("/".join("a" * 126))
    assert not patterns.matches(channel)
    began = time.thread_time()
    for _ in range(100):
        assert not patterns.matches(channel)
        assert patterns.matching(channel + "/a").bit_count() == 1000
    assert time.thread_time() - began < 0.1


def test_cache_of_interest_is_bounded() -> None:
    interest = Interest(["x", "a/*"])
    for number in range(10_000):
        assert interest.covers(f"a/{number}")
        assert not interest.covers(f"b/{number}")
    assert interest.covers("x")
    assert len(interest._cache) < 10_000
