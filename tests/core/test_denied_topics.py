"""The index of denied topics agrees with the comparison of two topics."""

from time import process_time
from timeit import repeat

from hypothesis import given
from hypothesis import strategies as st

from pushd.core.denied_topics import DeniedTopics
from pushd.core.names import intersects
from tests.core.small_topics import TOPICS


@given(st.lists(st.sampled_from(TOPICS), max_size=6), st.sampled_from(TOPICS))
def test_requested_topic_intersects_if_it_intersects_one_of_them(denied: list[str], requested: str) -> None:
    assert DeniedTopics(denied).intersects(requested) == any(intersects(topic, requested) for topic in denied)


def test_each_pair_of_topics_is_compared_as_by_intersects() -> None:
    assert [
        (denied, requested)
        for denied in TOPICS
        for index in [DeniedTopics([denied])]
        for requested in TOPICS
        if index.intersects(requested) != intersects(denied, requested)
    ] == []


def test_nothing_intersects_no_topics() -> None:
    assert not DeniedTopics([]).intersects("**")
    assert not DeniedTopics([]).intersects("a/b")


def test_thousand_topics_are_compared_with_thousand_topics_in_one_turn() -> None:
    denied = ["/".join(["*" if number >> bit & 1 else "a" for bit in range(10)]) + "/x" for number in range(1000)]
    index = DeniedTopics(denied)
    requested = [f"{'a/' * 10}{number}" for number in range(1000)]

    def compare() -> None:
        assert not any(index.intersects(topic) for topic in requested)

    assert min(repeat(compare, timer=process_time, repeat=5, number=1)) < 0.05
