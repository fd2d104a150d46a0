"""Grants: parsing, cover and denial by topic, subjects, and what a refusal says."""

import dataclasses
from collections import defaultdict
from itertools import product
from time import process_time
from timeit import repeat
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pushd.core.errors import BadTopic, Forbidden, NotGranted
from pushd.core.grant import ACTIONS, FULL, NOTHING, OPERATIONS, Action, Grant, Quota
from pushd.core.names import check_topic, covers, intersects, matches
from tests.core.small_topics import CHANNELS, MATCHING, TOPICS

CONTRACT: dict[str, Any] = {
    "subscribe": ["news/**", "users/{sub}/**"],
    "publish": ["chat/42"],
    "history": ["news/**"],
    "presence": ["chat/*"],
    "enter": ["chat/*"],
    "reply": ["jobs/*"],
    "manage": ["chat/42"],
    "deny": ["news/secret/**"],
    "operate": ["metrics", "connections"],
    "tags": ["mobile"],
    "quota": {
        "connections": 5,
        "subscriptions": 100,
        "messages_per_second": 10,
        "bytes_per_second": 1048576,
    },
}
NO_SEGMENTS = [
    "",
    "a/b",
    "*",
    "**",
    "a*",
    "a,b",
    "a?",
    "a#b",
    "a\\b",
    "a b",
    "a\tb",
    "a\n",
    "\x00",
    "a\x7f",
    "a\x85b",
    "\u00a0",
    "$a",
    "$",
    ".",
    "..",
    "e\u0301",
    "a\u200bb",
    "a\u202eb",
    "\ud800",
    "x" * 256,
]


def grant(subject: str | None = None, /, **table: Any) -> Grant:
    """Return a grant of a table."""
    return Grant.parse(table, subject, where="test")


def test_all_keys_are_parsed() -> None:
    parsed = grant("alice", **CONTRACT)
    assert parsed.subject == "alice"
    assert parsed.allow == {
        "subscribe": ("news/**", "users/alice/**"),
        "publish": ("chat/42",),
        "history": ("news/**",),
        "presence": ("chat/*",),
        "enter": ("chat/*",),
        "reply": ("jobs/*",),
        "manage": ("chat/42",),
    }
    assert parsed.deny == ("news/secret/**",)
    assert parsed.operate == {"metrics", "connections"}
    assert parsed.tags == ("mobile",)
    assert parsed.quota == Quota(5, 100, 10, 1048576)
    assert not parsed.is_full
    assert parsed == grant("alice", **CONTRACT)


def test_default_topics_are_those_of_related_actions() -> None:
    parsed = grant(subscribe=["s"], publish=["p"])
    allowed = {action: topics for action, topics in parsed.allow.items() if topics}
    assert allowed == {"subscribe": ("s",), "history": ("s",), "enter": ("s",), "publish": ("p",), "reply": ("p",)}
    narrow = grant(subscribe=["s"], publish=["p"], history=[], enter=[], reply=[])
    assert {action for action, topics in narrow.allow.items() if topics} == {"subscribe", "publish"}


def test_empty_table_grants_nothing() -> None:
    assert grant() == NOTHING
    for nothing in (grant(), NOTHING):
        assert not any(nothing.may(action, topic) for action in ACTIONS for topic in ("a", "**", "$sys/a"))
        assert not any(nothing.may_operate(operation) for operation in OPERATIONS)


def test_full_grant_allows_everything() -> None:
    topics = ("a", "**", "$sys/**", "$presence/**")
    assert all(FULL.may(action, topic) for action in ACTIONS for topic in topics)
    assert all(FULL.may_operate(operation) for operation in OPERATIONS)


def test_operations_are_allowed_by_name_or_all() -> None:
    some = grant(operate=["metrics", "kick"])
    assert {operation for operation in OPERATIONS if some.may_operate(operation)} == {"metrics", "kick"}
    assert all(grant(operate=["*"]).may_operate(operation) for operation in OPERATIONS)


@pytest.mark.parametrize("action", ACTIONS)
def test_action_is_allowed_by_its_own_list_only(action: Action) -> None:
    table: dict[str, Any] = {each: ["other"] for each in ACTIONS}
    parsed = grant(**table | {action: ["a/*"]})
    assert [each for each in ACTIONS if parsed.may(each, "a/b")] == [action]


def test_grant_is_immutable() -> None:
    parsed = grant("alice", **CONTRACT)
    with pytest.raises(dataclasses.FrozenInstanceError):
        parsed.deny = ()  # type: ignore[misc]
    with pytest.raises(TypeError):
        parsed.allow["publish"] = ("**",)  # type: ignore[index]


def test_accepted_request_receives_only_channels_of_the_grant_by_enumeration() -> None:
    """Only the first three conditions are taken from the code; matching is its own, independent check."""
    covered = {(one, two) for one, two in product(TOPICS, repeat=2) if grant(subscribe=[one]).may("subscribe", two)}
    apart = {
        (one, two) for one, two in product(TOPICS, repeat=2) if grant(subscribe=[two], deny=[one]).may("subscribe", two)
    }
    assert covered == {(one, two) for one, two in product(TOPICS, repeat=2) if MATCHING[two] <= MATCHING[one]}
    assert apart == {(one, two) for one, two in product(TOPICS, repeat=2) if not MATCHING[one] & MATCHING[two]}
    assert len(covered) > len(TOPICS)
    assert len(apart) > len(TOPICS)
    denied_for = defaultdict(list)
    for denied, requested in apart:
        denied_for[requested].append(denied)
    for granted, requested in covered:
        for denied in denied_for[requested]:
            assert MATCHING[requested] <= MATCHING[granted] - MATCHING[denied]


SOME_TOPICS = st.lists(st.sampled_from(TOPICS), max_size=5)


@given(SOME_TOPICS, SOME_TOPICS, st.sampled_from(TOPICS))
def test_accepted_request_is_covered_by_one_topic_and_intersects_no_denied_one(
    granted: list[str], denied: list[str], requested: str
) -> None:
    accepted = grant(subscribe=granted, deny=denied).may("subscribe", requested)
    is_covered = any(covers(topic, requested) for topic in granted)
    assert accepted == (is_covered and not any(intersects(topic, requested) for topic in denied))
    if accepted:
        for channel in MATCHING[requested]:
            assert any(matches(topic, channel) for topic in granted)
            assert not any(matches(topic, channel) for topic in denied)


@given(SOME_TOPICS, SOME_TOPICS, st.sampled_from(TOPICS))
def test_events_of_presence_are_received_only_for_channels_whose_members_may_be_read(
    granted: list[str], denied: list[str], requested: str
) -> None:
    parsed = grant(presence=granted, deny=denied, subscribe=["**"])
    for action in ("subscribe", "history"):
        topic = f"$presence/{requested}"
        if parsed.may(action, topic):
            visible = [channel for channel in CHANNELS if channel[0] != "$" and matches(topic, f"$presence/{channel}")]
            assert visible or requested[0] == "$"
            assert all(parsed.may("presence", channel) for channel in visible)


def test_wildcards_do_not_cover_names_of_the_daemon() -> None:
    parsed = grant(subscribe=["**", "*/**"], publish=["**"])
    assert not any(parsed.may("subscribe", topic) for topic in ("$sys/load", "$sys/*", "$sys/**", "$presence/a"))
    named = grant(subscribe=["$sys/**"])
    assert named.may("subscribe", "$sys/load")
    assert not named.may("subscribe", "**")


def test_events_of_presence_follow_the_channel() -> None:
    parsed = grant(presence=["chat/*"], deny=["chat/7"], publish=["**"], manage=["**"])
    for action in ("subscribe", "history"):
        assert parsed.may(action, "$presence/chat/42")
        assert not parsed.may(action, "$presence/chat/7")
        assert not parsed.may(action, "$presence/chat/*")
        assert not parsed.may(action, "chat/42")
    assert not any(parsed.may(action, "$presence/chat/42") for action in ("publish", "reply", "manage", "enter"))
    assert grant(presence=["**"]).may("subscribe", "$presence/**")


def test_daemons_channels_have_no_members() -> None:
    parsed = grant(presence=["$sys/**", "**"], enter=["$sys/**", "**"])
    for topic in ("$sys/a", "$sys/**", "$presence/a"):
        assert not parsed.may("presence", topic)
        assert not parsed.may("enter", topic)
        assert not parsed.may("subscribe", f"$presence/{topic}")


def test_subject_replaces_whole_segments() -> None:
    parsed = grant("alice", subscribe=["{sub}", "u/{sub}/**", "{sub}/{sub}"], deny=["u/{sub}/secret"])
    assert parsed.allow["subscribe"] == ("alice", "u/alice/**", "alice/alice")
    assert parsed.deny == ("u/alice/secret",)
    assert parsed.may("subscribe", "u/alice/x")
    assert not parsed.may("subscribe", "u/alice/secret")
    assert not parsed.may("subscribe", "u/bob/x")


def test_subject_is_not_replaced_twice() -> None:
    assert grant("{sub}", subscribe=["u/{sub}"]).allow["subscribe"] == ("u/{sub}",)


@pytest.mark.parametrize("subject", [None, *NO_SEGMENTS])
def test_subject_that_is_no_segment_voids_allowed_topics(subject: str | None) -> None:
    parsed = grant(subject, subscribe=["u/{sub}/**", "news"], publish=["{sub}"], deny=["secret"])
    assert parsed.allow["subscribe"] == parsed.allow["history"] == ("news",)
    assert parsed.allow["publish"] == ()
    assert parsed.subject == subject


@pytest.mark.parametrize("subject", [None, *NO_SEGMENTS])
def test_subject_that_is_no_segment_is_refused_for_denied_topics(subject: str | None) -> None:
    with pytest.raises(ValueError, match=r"^test: deny: \{sub\} is used"):
        grant(subject, subscribe=["**"], deny=["u/{sub}"])


def test_topic_that_becomes_too_long_counts_as_one_without_a_valid_subject() -> None:
    subject = "x" * 255
    assert grant(subject, subscribe=["{sub}", "u/{sub}"]).allow["subscribe"] == (subject,)
    with pytest.raises(ValueError, match="deny"):
        grant(subject, deny=["u/{sub}"])


@given(st.text(max_size=6), st.sampled_from(["{sub}", "u/{sub}", "u/{sub}/**"]))
def test_any_subject_reaches_only_its_own_segment(subject: str, pattern: str) -> None:
    (*topics,) = grant(subject, subscribe=[pattern]).allow["subscribe"]
    assert all(
        topic.split("/") == [{"{sub}": subject}.get(each, each) for each in pattern.split("/")] for topic in topics
    )
    assert not grant(subject, subscribe=[pattern]).may("subscribe", "u/someone-else/x")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"subscribes": []}, "unknown key 'subscribes' (accepted: subscribe, publish, history, "),
        ({"subscribe": "a"}, "subscribe: 'a' is not a list of strings"),
        ({"subscribe": None}, "subscribe: None is not a list of strings"),
        ({"publish": ["a", 1]}, "publish: ['a', 1] is not a list of strings"),
        ({"history": True}, "history: True is not a list of strings"),
        ({"manage": ["a//b"]}, "manage: 'a//b' is not accepted: topic must not have an empty segment"),
        ({"enter": ["**/a"]}, "enter: '**/a' is not accepted: topic must not contain"),
        ({"deny": ["a*"]}, "deny: 'a*' is not accepted: topic must not contain"),
        ({"reply": ["x" * 300]}, "reply: '" + "x" * 79 + " is not accepted: topic must not exceed 255 bytes"),
        ({"subscribe": ["user-{sub}"]}, "subscribe: 'user-{sub}' is not accepted: {sub} must be a whole segment"),
        ({"deny": ["u/{sub}{sub}"]}, "deny: 'u/{sub}{sub}' is not accepted: {sub} must be a whole segment"),
        ({"subscribe": ["$presence/a"]}, "subscribe: '$presence/a' is not accepted: list the channel itself; "),
        ({"deny": ["$presence/**"]}, "deny: '$presence/**' is not accepted: list the channel itself; "),
        ({"operate": ["metric"]}, "operate: unknown operation 'metric' (accepted: metrics, "),
        ({"operate": "*"}, "operate: '*' is not a list of strings"),
        ({"tags": ["a", ""]}, "tags: each must have 1 to 255 printable characters"),
        ({"tags": ["a\nb"]}, "tags: each must have 1 to 255 printable characters"),
        ({"quota": 5}, "quota: must be an object of limits"),
        ({"quota": {"connection": 1}}, "quota: unknown key 'connection' (accepted: connections, "),
        ({"quota": {"connections": 0}}, "quota.connections: 0 is not a whole number of at least 1"),
        ({"quota": {"connections": True}}, "quota.connections: True is not a whole number of at least 1"),
        ({"quota": {"bytes_per_second": 1.5}}, "quota.bytes_per_second: 1.5 is not a whole number of at least 1"),
        ({"\u202e\n": 1}, "unknown key '\\u202e\\n' (accepted: "),
    ],
)
def test_invalid_table_is_refused_in_one_line(table: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as error:
        Grant.parse(table, "alice", where="token phone")
    assert str(error.value).startswith(f"token phone: {message}")
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 300


@given(
    st.dictionaries(
        st.sampled_from([*ACTIONS, "deny", "tags", "operate", "quota", "x"]), st.lists(st.text()) | st.none()
    )
)
def test_any_table_is_parsed_or_refused_in_one_line(table: dict[str, object]) -> None:
    try:
        Grant.parse(table, "alice", where="test")
    except ValueError as error:
        assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize(
    ("table", "action", "topic", "message"),
    [
        ({"subscribe": ["news/*"]}, "subscribe", "news/**", "news/** is not granted; accepted: news/*"),
        ({"subscribe": ["news/sport/**"]}, "history", "news/*/**", "accepted: news/sport/**"),
        ({"subscribe": ["*/x"]}, "subscribe", "a/*", "accepted: a/x"),
        ({"subscribe": ["a/*", "b/*"], "deny": ["a/**"]}, "subscribe", "*/*", "accepted: b/*"),
        ({"publish": ["chat/42"]}, "publish", "chat/43", "chat/43 is not granted; accepted: chat/42"),
        ({"publish": ["chat/42"]}, "publish", "news", "action publish on topic news is not granted"),
        ({"subscribe": ["a/**"], "deny": ["a/**"]}, "subscribe", "a/b", "action subscribe on topic a/b is not granted"),
        ({"presence": ["chat/*"]}, "subscribe", "$presence/**", "accepted: $presence/chat/*"),
        ({"presence": ["**"]}, "presence", "$sys/x", "action presence on topic $sys/x is not granted"),
        ({}, "manage", "a", "action manage on topic a is not granted"),
    ],
)  # fmt: skip
def test_refusal_names_action_topic_and_a_topic_that_is_accepted(
    table: dict[str, Any], action: Action, topic: str, message: str
) -> None:
    with pytest.raises(NotGranted) as refusal:
        grant(**table).check(action, topic)
    assert str(refusal.value).endswith(message)
    assert isinstance(refusal.value, Forbidden)
    accepted = message.partition("accepted: ")[2]
    if accepted:
        grant(**table).check(action, accepted)


@given(SOME_TOPICS, SOME_TOPICS, st.sampled_from(TOPICS))
def test_topic_that_a_refusal_names_is_accepted(granted: list[str], denied: list[str], requested: str) -> None:
    parsed = grant(subscribe=granted, deny=denied)
    try:
        parsed.check("subscribe", requested)
    except NotGranted as refusal:
        accepted = str(refusal).partition("accepted: ")[2]
        assert not accepted or parsed.may("subscribe", accepted)


@given(
    SOME_TOPICS, SOME_TOPICS, st.sampled_from(ACTIONS), st.sampled_from([*TOPICS, *(f"$presence/{t}" for t in TOPICS)])
)
def test_decision_names_the_entry_that_decided(
    granted: list[str], denied: list[str], action: Action, requested: str
) -> None:
    try:
        parsed = grant(**{action: granted, "presence": granted}, deny=denied)
        check_topic(requested)
    except (ValueError, BadTopic):
        assume(False)
    decision = parsed.decide(action, requested)
    wanted = requested.removeprefix("$presence/") if action in ("subscribe", "history") else requested
    assert decision.is_allowed == parsed.may(action, requested)
    if decision.is_allowed:
        assert decision.entry in granted
        assert covers(decision.entry, wanted)
    elif decision.entry is not None:
        assert (decision.key, decision.entry in denied) == ("deny", True)
        assert intersects(decision.entry, wanted)


@pytest.mark.parametrize(
    ("table", "action", "topic", "decision"),
    [
        ({"subscribe": ["a", "b/**"]}, "subscribe", "b/c", (True, "subscribe", "b/**")),
        ({"subscribe": ["a"]}, "history", "a", (True, "subscribe", "a")),
        ({"subscribe": ["a"], "history": ["a"]}, "history", "a", (True, "history", "a")),
        ({"subscribe": ["a"], "history": []}, "history", "a", (False, "history", None)),
        ({"publish": ["a"]}, "reply", "b", (False, "publish", None)),
        ({"subscribe": ["**"], "deny": ["b/*"]}, "subscribe", "b/**", (False, "deny", "b/*")),
        ({"presence": ["a"]}, "subscribe", "$presence/a", (True, "presence", "a")),
        ({"presence": ["$sys/x"]}, "presence", "$sys/x", (False, "presence", None)),
    ],
)
def test_decision_names_the_key(
    table: dict[str, Any], action: Action, topic: str, decision: tuple[bool, str, str | None]
) -> None:
    assert grant(**table).decide(action, topic) == decision


def test_decision_on_operations() -> None:
    assert grant(operate=["kick"]).decide_operation("kick") == (True, "operate", "kick")
    assert grant(operate=["*"]).decide_operation("kick") == (True, "operate", "*")
    assert grant(operate=["kick"]).decide_operation("metrics") == (False, "operate", None)
    assert FULL.decide_operation("kick").is_allowed
    assert FULL.decide("publish", "a").is_allowed


def test_check_is_fast_with_hundreds_of_topics() -> None:
    allowed = [f"news/{number}/**" for number in range(100)]
    parsed = grant(subscribe=allowed, deny=[f"news/*/secret{number}/**" for number in range(100)])

    def check() -> bool:
        return parsed.may("subscribe", "news/99/a/b")

    assert check()
    assert min(repeat(check, timer=process_time, repeat=5, number=1000)) < 0.05


@pytest.mark.parametrize(
    ("table", "is_empty"),
    [
        ({}, True),
        ({"deny": ["a"], "tags": ["mobile"]}, True),
        ({"subscribe": ["users/{sub}"]}, True),
        ({"publish": ["a"]}, False),
        ({"presence": ["a"]}, False),
        ({"operate": ["metrics"]}, False),
    ],
)
def test_grant_that_allows_nothing_is_empty(table: dict[str, object], is_empty: bool) -> None:
    assert Grant.parse(table, None, where="test").is_empty is is_empty


def test_full_grant_is_not_empty() -> None:
    assert (FULL.is_empty, NOTHING.is_empty) == (False, True)
