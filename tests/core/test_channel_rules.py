"""Rules for channels: the first match counts, and what it gives."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.core.channel_rules import ChannelRule, ChannelRules, Retentions
from pushd.core.history import Bounds, Retention
from pushd.core.names import covers, matches
from pushd.core.outbox import Policy

NAMES = st.lists(st.sampled_from(["a", "b", "$c"]), min_size=1, max_size=3).map("/".join)
PATTERNS = st.builds(
    lambda segments, rest: "/".join([*segments, *rest]),
    st.lists(st.sampled_from(["a", "b", "*"]), max_size=3),
    st.sampled_from([["**"], ["*"], ["a"]]),
)
DISCONNECT, DROP, LATEST = Policy
MANY = [ChannelRule(f"a/{number}/*", messages=number) for number in range(1000)]


@given(st.lists(PATTERNS, max_size=6), NAMES)
def test_first_rule_that_matches_is_found(patterns: list[str], channel: str) -> None:
    rules = ChannelRules([ChannelRule(pattern) for pattern in patterns])
    expected = next((pattern for pattern in patterns if matches(pattern, channel)), None)
    for _ in range(2):
        rule = rules.rule_of(channel)
        assert (rule and rule.match) == expected


@given(st.lists(PATTERNS, max_size=6), st.one_of(NAMES, PATTERNS))
def test_policy_is_that_of_the_first_rule_that_covers_a_topic(patterns: list[str], topic: str) -> None:
    policies = [DROP, None, LATEST, DISCONNECT, None, DROP]
    rules = ChannelRules([ChannelRule(*pair[:1], slow=pair[1]) for pair in zip(patterns, policies, strict=False)])
    covering = [policy for pattern, policy in zip(patterns, policies, strict=False) if covers(pattern, topic)]
    assert rules.policy_of([topic]) == (covering[0] if covering else None)


@pytest.mark.parametrize(
    ("topics", "policy"),
    [
        (["a"], LATEST),
        (["x", "y"], None),
        (["b", "a"], LATEST),
        (["x", "c/1", "a"], DROP),
        (["c/*", "a"], DROP),
        (["c/**"], None),
        (["*"], None),
    ],
)
def test_first_topic_with_a_policy_counts(topics: Sequence[str], policy: Policy | None) -> None:
    rules = ChannelRules([ChannelRule("a", slow=LATEST), ChannelRule("b"), ChannelRule("c/*", slow=DROP)])
    assert rules.policy_of(topics) == policy


def test_channels_have_presence_unless_their_rule_says_otherwise() -> None:
    rules = ChannelRules([ChannelRule("a/b", presence=True), ChannelRule("a/*", presence=False), ChannelRule("b")])
    assert [rules.presence_of(name) for name in ("a/b", "a/c", "b", "c")] == [True, False, True, True]
    assert ChannelRules().presence_of("a")


def test_many_rules_and_more_channels_than_are_cached() -> None:
    rules = ChannelRules(MANY)
    for _ in range(2):
        for number in range(0, 10_000, 7):
            rule = rules.rule_of(f"a/{number % 1000}/{number}")
            assert rule is not None
            assert rule.messages == number % 1000


def test_retention_takes_from_the_bounds_what_a_rule_does_not_set() -> None:
    bounds = Bounds(messages=5, bytes=50, age=500.0)
    rules = [ChannelRule("a", messages=0), ChannelRule("b", age=1.0), ChannelRule("c", age=500.0), ChannelRule("d")]
    retentions = Retentions(bounds, ChannelRules([*rules, ChannelRule("**", bytes=7, ttl=3.0)]))
    assert [retentions.of(name) for name in "abcde"] == [
        Retention(0, 50),
        Retention(5, 50, 1.0),
        Retention(5, 50),
        Retention(5, 50),
        Retention(5, 7),
    ]
    assert retentions.ages == (1.0,)
    assert retentions.of("$sys/x") == retentions.default == Retentions(bounds, ChannelRules()).of("a")


def test_rules_without_retention_cost_no_lookup() -> None:
    retentions = Retentions(Bounds(), ChannelRules([ChannelRule("**", ttl=1.0, slow=DROP)]))
    assert len(retentions.table) == 1
    assert retentions.of("a") is retentions.default


def test_rules_are_compared_by_value() -> None:
    assert ChannelRules(MANY) == ChannelRules(list(MANY))
    assert len({ChannelRules(MANY), ChannelRules(list(MANY)), ChannelRules()}) == 2
    assert ChannelRules(MANY) != ChannelRules(MANY[::-1])


def test_overview_names_what_is_set() -> None:
    assert ChannelRules().overview() == "none"
    rules = [ChannelRule("a/*", messages=1, age=604800.0, keep=False, slow=LATEST), ChannelRule("**")]
    assert ChannelRules(rules).overview() == "a/* (messages=1 age=604800 keep=false slow=latest), ** (defaults)"
    assert ChannelRules(MANY).overview().endswith("a/9/* (messages=9) and 990 more")
