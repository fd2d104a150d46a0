"""Grants of which the application has decided a part."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.core.answered_grant import UNASKED, AnonymousGrant, NarrowedGrant
from pushd.core.errors import NotGranted
from pushd.core.grant import ACTIONS, OPERATIONS, UNLIMITED, Grant, Quota

TOPICS = st.sampled_from(["a", "a/b", "a/*", "a/**", "*", "**", "b/c", "$presence/a", "$sys/x"])
GRANTED = st.sampled_from(["a", "a/b", "a/*", "a/**", "*", "**", "b/c", "$sys/x"])
LISTS = st.lists(GRANTED, max_size=3)
TABLES = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys((*ACTIONS, "deny"), LISTS),
        "operate": st.lists(st.sampled_from([*OPERATIONS, "*"]), max_size=2),
    },
)


def grant(subject: str | None = None, **table: Any) -> Grant:
    return Grant.parse(table, subject, where="grant")


@given(TABLES, TABLES, st.sampled_from(ACTIONS), TOPICS, st.sampled_from(OPERATIONS))
def test_a_narrowed_grant_is_the_intersection(
    credential: dict[str, Any], answer: dict[str, Any], action: Any, topic: str, operation: Any
) -> None:
    one, other = grant("alice", **credential), grant("alice", **answer)
    narrowed = NarrowedGrant.of(one, other)
    assert narrowed.may(action, topic) is (one.may(action, topic) and other.may(action, topic))
    assert narrowed.decide(action, topic).is_allowed is narrowed.may(action, topic)
    assert narrowed.may_operate(operation) is (one.may_operate(operation) and other.may_operate(operation))
    assert narrowed.decide_operation(operation).is_allowed is narrowed.may_operate(operation)
    assert not narrowed.is_full
    if narrowed.is_empty:
        assert not narrowed.may(action, topic)
    similar = narrowed.similar(action, topic)
    assert similar is None or narrowed.may(action, similar)


def test_a_narrowed_grant_keeps_the_subject_and_the_tags_of_the_credential() -> None:
    credential = grant("alice", tags=["mobile"], subscribe=["**"])
    narrowed = NarrowedGrant.of(credential, grant("alice", tags=["other"], subscribe=["news"]))
    assert (narrowed.subject, narrowed.tags) == ("alice", ("mobile",))
    with pytest.raises(NotGranted, match=r"action subscribe on topic \*\* is not granted; accepted: news"):
        narrowed.check("subscribe", "**")


@pytest.mark.parametrize(
    ("credential", "answer", "expected"),
    [
        ({}, {}, UNLIMITED),
        ({"connections": 5}, {}, Quota(connections=5)),
        ({}, {"connections": 5}, Quota(connections=5)),
        ({"connections": 5, "subscriptions": 9}, {"connections": 7}, Quota(connections=5, subscriptions=9)),
        ({"connections": 7}, {"connections": 5, "bytes_per_second": 1}, Quota(connections=5, bytes_per_second=1)),
    ],
)
def test_the_smaller_quota_counts(credential: dict[str, int], answer: dict[str, int], expected: Quota) -> None:
    quota = NarrowedGrant.of(grant("a", quota=credential), grant("a", quota=answer)).quota
    assert quota == expected
    assert (quota is UNLIMITED) is (expected is UNLIMITED)


@given(TABLES, st.lists(GRANTED, max_size=3), st.booleans(), st.sampled_from(ACTIONS), TOPICS)
def test_an_anonymous_grant_allows_what_was_answered_and_the_topics_that_were_added(
    answer: dict[str, Any], added: list[str], reads_history: bool, action: Any, topic: str
) -> None:
    base = grant(**answer)
    anonymous = AnonymousGrant.of(base)
    anonymous.add(added, (), reads_history=reads_history)
    is_added = topic in added and action in (("subscribe", "history") if reads_history else ("subscribe",))
    assert anonymous.may(action, topic) is (base.may(action, topic) or is_added)
    assert anonymous.decide(action, topic).is_allowed is anonymous.may(action, topic)
    assert anonymous.is_empty is (base.is_empty and not added)
    assert AnonymousGrant.of(anonymous) is anonymous
    for operation in OPERATIONS:
        assert anonymous.may_operate(operation) is base.may_operate(operation)


def test_topics_that_a_peer_does_not_have_any_more_are_forgotten() -> None:
    anonymous = AnonymousGrant.of(grant())
    anonymous.add(["kept"], (), reads_history=False)
    for number in range(10_000):
        anonymous.add([f"a/{number}"], {"kept"}, reads_history=False)
        assert anonymous.may("subscribe", f"a/{number}")
    assert anonymous.may("subscribe", "kept")
    assert len(anonymous.topics) <= 210


def test_nothing_is_allowed_before_the_application_was_asked() -> None:
    assert UNASKED.is_empty
    assert not any(UNASKED.may(action, "a") for action in ACTIONS)
