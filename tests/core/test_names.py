"""Names: channels, patterns, and which channels a pattern matches."""

import re
import unicodedata
from itertools import product
from time import process_time
from timeit import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.core.errors import BadChannel, BadTopic, Forbidden, Refusal, TooManyTopics
from pushd.core.names import (
    Interest,
    Scope,
    check_channel,
    check_publishable,
    check_topic,
    covers,
    intersection,
    intersects,
    is_pattern,
    matches,
    parse_topics,
)
from tests.core.small_topics import MATCHING, TOPICS

CHANNELS = [
    "a",
    "news/sports/final",
    "$sys/connections",
    "Zürich/Läufe",
    "日本/東京",
    "\u00c5ngstr\u00f6m/한글",
    "\u0301/b",
    "...",
    "a./.b/..c",
    "a.b:c-d_e~!@%&=+'()[]{}|<>\"^`;",
    "with$inside/and/$here",
    "x" * 255,
    "ü" * 127 + "x",
]

NO_CHANNELS_NOR_TOPICS = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    "a b",
    "a\tb",
    "a\nb",
    "a\r\nb",
    "a\n",
    "a\x00b",
    "a\x7fb",
    "a\x85b",
    "a\x9fb",
    "a\u00a0b",
    "a\u2028b",
    "a\u3000b",
    "a\ufeffb",
    "a\u200bb",
    "a\u200db",
    "a/\u2060",
    "a\u200eb",
    "\u200f/a",
    "a\u061cb",
    "a\u202eb",
    "a\u202ab",
    "a\u2066b",
    "a\u2069b",
    "a\ud800b",
    "Zu\u0308rich",
    "a/e\u0301/b",
    "\u212b",
    "\u1100\u1161",
    "a,b",
    "a?b",
    "a#b",
    "a\\b",
    ".",
    "..",
    "a/.",
    "a/../b",
    "./a",
    "x" * 256,
    "ü" * 128,
    "a/" * 127 + "bc",
]

PATTERNS = ["*", "**", "a/*", "*/a", "a/*/b", "a/**", "*/**", "*/*", "$sys/*", "$sys/**", "*/" * 126 + "**"]

NO_PATTERNS = [
    "../*",
    "a/./**",
    "e\u0301/*",
    "\u200b/**",
    "a*",
    "*a",
    "a/b*",
    "**/a",
    "a/**/b",
    "***",
    "a/***",
    "*/",
    "/**",
    "**/**",
    "a*/b",
    "x/" * 126 + "ab**",
]


@pytest.mark.parametrize("name", CHANNELS)
def test_channel_name_is_returned_and_is_a_topic(name: str) -> None:
    assert check_channel(name) == name
    assert check_topic(name) == name
    assert not is_pattern(name)


@pytest.mark.parametrize("name", NO_CHANNELS_NOR_TOPICS)
def test_invalid_channel_name_is_refused_everywhere(name: str) -> None:
    with pytest.raises(BadChannel):
        check_channel(name)
    with pytest.raises(BadChannel):
        check_publishable(name)
    with pytest.raises(BadTopic):
        check_topic(name)


@pytest.mark.parametrize("name", PATTERNS)
def test_pattern_is_a_topic_but_not_a_channel(name: str) -> None:
    assert check_topic(name) == name
    assert is_pattern(name)
    with pytest.raises(BadChannel):
        check_channel(name)


@pytest.mark.parametrize("name", NO_PATTERNS)
def test_star_within_segment_or_rest_before_last_segment_is_refused(name: str) -> None:
    with pytest.raises(BadTopic):
        check_topic(name)


def test_refusal_is_one_line() -> None:
    for name in NO_CHANNELS_NOR_TOPICS:
        with pytest.raises(Refusal) as refusal:
            check_topic(name)
        assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("e\u0301", "normalization form C"),
        ("a\u202eb", "bidirectional control"),
        ("a\u200db", "zero-width"),
        ("a/..", "segment"),
    ],
)
def test_refusal_names_the_reason(name: str, reason: str) -> None:
    for check in (check_channel, check_publishable, check_topic):
        with pytest.raises(Refusal, match=reason):
            check(name)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6))
def test_accepted_names_have_one_spelling_that_shows_all_of_it(name: str) -> None:
    try:
        check_channel(name)
    except BadChannel:
        return
    assert unicodedata.normalize("NFC", name) == name
    assert not re.search("[\u061c\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]", name)


def test_dollar_names_can_be_subscribed_but_not_published_to() -> None:
    assert check_topic("$sys/load") == "$sys/load"
    with pytest.raises(Forbidden):
        check_publishable("$sys/load")
    assert check_publishable("price/in$") == "price/in$"
    assert check_publishable("price/$") == "price/$"


@pytest.mark.parametrize(
    ("text", "topics"),
    [
        ("a", ("a",)),
        ("a,b/*,c/**", ("a", "b/*", "c/**")),
        ("b,a,b,a", ("b", "a")),
        ("a,b,c,d", ("a", "b", "c", "d")),
    ],
)
def test_topics_are_split_at_commas_without_duplicates(text: str, topics: tuple[str, ...]) -> None:
    assert parse_topics(text, 4) == topics


@pytest.mark.parametrize("text", ["", ",", "a,", ",a", "a,,b", "a, b"])
def test_every_topic_is_checked(text: str) -> None:
    with pytest.raises(BadTopic):
        parse_topics(text, 4)


def test_topics_over_limit_are_refused() -> None:
    assert len(parse_topics(",".join(map(str, range(1000))), 1000)) == 1000
    with pytest.raises(TooManyTopics):
        parse_topics(",".join(map(str, range(1001))), 1000)


MATCHES = [
    ("a", "a"),
    ("a/b", "a/b"),
    ("*", "a"),
    ("*", "a$"),
    ("a/*", "a/b"),
    ("*/b", "a/b"),
    ("a/*/c", "a/b/c"),
    ("**", "a"),
    ("**", "a/b/c"),
    ("a/**", "a/b"),
    ("a/**", "a/b/c/d"),
    ("*/**", "a/b"),
    ("a/*/**", "a/b/c"),
    ("a/*", "a/$b"),
    ("a/**", "a/$b/c"),
    ("$sys/*", "$sys/load"),
    ("$sys/**", "$sys/load/now"),
]

NO_MATCHES = [
    ("a", "b"),
    ("a", "a/b"),
    ("a/b", "a"),
    ("A", "a"),
    ("*", "a/b"),
    ("a/*", "a"),
    ("a/*", "b/c"),
    ("a/*", "a/b/c"),
    ("*/b", "a/c"),
    ("*/b", "b"),
    ("a/**", "a"),
    ("a/**", "b/c"),
    ("a/**", "ab/c"),
    ("*/**", "a"),
    ("a/*/**", "a/b"),
    ("*", "$sys"),
    ("**", "$sys/load"),
    ("*/load", "$sys/load"),
    ("*/**", "$sys/load"),
]


@pytest.mark.parametrize(("topic", "channel"), MATCHES)
def test_topic_matches_its_channels(topic: str, channel: str) -> None:
    assert matches(topic, channel)
    assert Interest([topic]).covers(channel)


@pytest.mark.parametrize(("topic", "channel"), NO_MATCHES)
def test_topic_matches_no_other_channel_and_first_wildcard_no_dollar_name(topic: str, channel: str) -> None:
    assert not matches(topic, channel)
    assert not Interest([topic]).covers(channel)


def test_interest_covers_channels_of_any_topic_repeatedly() -> None:
    interest = Interest(["a", "b/*"])
    for _ in range(2):
        assert interest.covers("a")
        assert interest.covers("b/c")
        assert not interest.covers("b")
        assert not interest.covers("c")


def test_interest_is_exact_only_without_patterns() -> None:
    assert Interest(["a", "b/c"]).is_exact
    assert not Interest(["a", "b/*"]).is_exact
    assert not Interest([]).covers("a")


LETTERS = st.lists(st.sampled_from("a$*/, \t\x85é"), max_size=8).map("".join)


@given(LETTERS | st.text(max_size=300))
def test_any_text_is_a_topic_or_refused(text: str) -> None:
    try:
        topic = check_topic(text)
    except BadTopic as refusal:
        assert len(str(refusal).splitlines()) == 1
        with pytest.raises(BadChannel):
            check_channel(text)
        return
    assert topic == text
    assert 0 < len(topic.encode()) <= 255
    assert topic.split() == topic.splitlines() == topic.split(",") == [topic]
    assert not re.search(r"//|\A/|/\Z|[\x00-\x20\x7f-\x9f?#\\]", topic)
    if is_pattern(topic):
        with pytest.raises(BadChannel):
            check_channel(topic)
    else:
        assert check_channel(topic) == topic


SEGMENTS = st.sampled_from(["a", "b", "$a", "a$"])


@given(
    st.lists(SEGMENTS | st.just("*"), max_size=4).map("/".join),
    st.sampled_from(["", "**"]),
    st.lists(SEGMENTS, min_size=1, max_size=5).map("/".join),
)
def test_topic_matches_like_its_regular_expression(start: str, rest: str, channel: str) -> None:
    topic = "/".join(filter(None, (start, rest))) or "*"
    means = re.escape(topic).replace(r"\*\*", ".+").replace(r"\*", "[^/]+")
    hidden = channel.startswith("$") and topic.startswith("*")
    assert matches(topic, channel) == (not hidden and bool(re.fullmatch(means, channel)))
    assert Interest([topic]).covers(channel) == matches(topic, channel)


@given(st.lists(st.lists(SEGMENTS | st.just("*"), min_size=1, max_size=3).map("/".join), min_size=1, max_size=9))
def test_joined_topics_round_trip(topics: list[str]) -> None:
    assert parse_topics(",".join(topics), 9) == tuple(dict.fromkeys(topics))


COVERED = [
    ("a", "a"),
    ("a/*", "a/b"),
    ("a/*", "a/*"),
    ("a/**", "a/b"),
    ("a/**", "a/b/c"),
    ("a/**", "a/*"),
    ("a/**", "a/*/b"),
    ("a/**", "a/*/**"),
    ("a/**", "a/**"),
    ("a/*/c", "a/b/c"),
    ("*/b", "a/b"),
    ("*/b", "*/b"),
    ("*", "*"),
    ("**", "*"),
    ("**", "**"),
    ("**", "a/*/c"),
    ("*/**", "a/**"),
    ("*/**", "*/*"),
    ("a/*", "a/$b"),
    ("$sys/*", "$sys/load"),
    ("$sys/**", "$sys/*"),
    ("$sys/**", "$sys/**"),
]

UNCOVERED = [
    ("a", "b"),
    ("a", "*"),
    ("a", "**"),
    ("a", "a/**"),
    ("a/*", "a/**"),
    ("a/*", "a"),
    ("a/*", "a/b/c"),
    ("a/*", "*/b"),
    ("a/**", "a"),
    ("a/**", "ab/c"),
    ("a/**", "*/b"),
    ("a/**", "**"),
    ("a/b", "a/*"),
    ("a/*/c", "a/*/*"),
    ("*", "**"),
    ("*/**", "*"),
    ("*/**", "**"),
    ("*", "$sys"),
    ("**", "$sys"),
    ("**", "$sys/load"),
    ("**", "$sys/**"),
    ("*/load", "$sys/load"),
    ("*/**", "$sys/*"),
    ("$sys/*", "*/load"),
    ("$sys/*", "$sys/**"),
]


@pytest.mark.parametrize(("granted", "requested"), COVERED)
def test_topic_is_covered(granted: str, requested: str) -> None:
    assert covers(granted, requested)
    assert Scope((granted,)).covers(requested)


@pytest.mark.parametrize(("granted", "requested"), UNCOVERED)
def test_topic_is_not_covered(granted: str, requested: str) -> None:
    assert not covers(granted, requested)
    assert not Scope((granted,)).covers(requested)


_DEPTH = 3
_WORDS = ("a", "b", "$", "$a")
_UNIVERSE = [
    "/".join(segments) for depth in range(_DEPTH + 1) for segments in product((*_WORDS, "z"), repeat=depth + 1)
]
"""Channels one segment deeper than the topics below, with a word that none of the topics has: what covers all of these
that a topic matches covers all that it matches.
"""


@st.composite
def topics(draw: st.DrawFn) -> str:
    """Draw a topic of at most three segments."""
    segments = draw(st.lists(st.sampled_from((*_WORDS, "*")), max_size=_DEPTH))
    rest = ["**"] if len(segments) < _DEPTH and (not segments or draw(st.booleans())) else []
    return check_topic("/".join([*segments, *rest]))


@given(topics(), topics())
def test_covering_topic_matches_all_channels_of_covered_topic(granted: str, requested: str) -> None:
    channels = [channel for channel in _UNIVERSE if matches(requested, channel)]
    assert channels
    assert covers(granted, requested) == all(matches(granted, channel) for channel in channels)


@given(topics(), st.sampled_from(_UNIVERSE))
def test_topic_covers_channel_if_it_matches(granted: str, channel: str) -> None:
    assert covers(granted, channel) == matches(granted, channel)


@given(topics(), topics(), topics())
def test_covering_is_reflexive_and_transitive(first: str, second: str, third: str) -> None:
    assert covers(first, first)
    assert not (covers(first, second) and covers(second, third)) or covers(first, third)


COMMON = [
    ("a", "a", "a"),
    ("a", "b", None),
    ("a", "a/b", None),
    ("a/*", "*/b", "a/b"),
    ("a/**", "a", None),
    ("a/**", "**", "a/**"),
    ("a/**", "*/*/c", "a/*/c"),
    ("a/**", "*/b/**", "a/b/**"),
    ("**", "*", "*"),
    ("*/b", "$sys/b", None),
    ("**", "$sys/**", None),
    ("a/*", "a/$b", "a/$b"),
]


@pytest.mark.parametrize(("one", "other", "common"), COMMON)
def test_common_channels_of_two_topics_are_a_topic(one: str, other: str, common: str | None) -> None:
    assert intersection(one, other) == intersection(other, one) == common
    assert intersects(one, other) == (common is not None)


def test_common_topic_matches_what_both_topics_match_by_enumeration() -> None:
    for one, other in product(TOPICS, repeat=2):
        common = intersection(one, other)
        expected = MATCHING[one] & MATCHING[other]
        assert intersects(one, other) == bool(expected)
        assert common is None or MATCHING[common] == expected


@given(st.lists(topics(), max_size=6), st.one_of(topics(), st.sampled_from(_UNIVERSE)))
def test_scope_covers_what_one_of_its_topics_covers(granted: list[str], requested: str) -> None:
    assert Scope(tuple(granted)).covers(requested) == any(covers(topic, requested) for topic in granted)


def test_scope_of_thousand_topics_checks_thousand_topics_in_one_turn() -> None:
    granted = tuple("/".join(["*" if number >> bit & 1 else "a" for bit in range(10)]) + "/x" for number in range(1000))
    requested = [f"{'a/' * 10}{number}" for number in range(1000)]
    scope = Scope(granted)

    def check() -> None:
        assert not any(scope.covers(topic) for topic in requested)

    assert min(repeat(check, timer=process_time, repeat=5, number=1)) < 0.05
