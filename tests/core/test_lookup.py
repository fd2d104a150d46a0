"""The lookup of a subscriber's topics finds the same as a test of each topic."""

from hypothesis import given
from hypothesis import strategies as st

from pushd.core.lookup import TopicLookup
from pushd.core.names import is_pattern, matches

TOPICS = [f"{first}/{second}" for first in "ab*" for second in ("1", "2", "*", "**")] + ["**", "*", "a", "$x/*"]
CHANNELS = ["a", "a/1", "a/2", "b/1", "b/2/3", "c/1", "$x/1", "$y/1"]
MANY = [f"n{number}/*" for number in range(40)]
"""So many topics that patterns are compiled."""


def expected(starts: dict[str, int], channel: str) -> set[str]:
    return {topic for topic in starts if is_pattern(topic) and matches(topic, channel)}


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "remove"]),
        st.lists(st.sampled_from(TOPICS), min_size=1, max_size=4),
        st.integers(0, 5),
        st.sampled_from(CHANNELS),
    ),
    max_size=30,
)


@given(others=st.sampled_from([[], MANY]), steps=STEPS, compiled=st.booleans())
def test_lookup_agrees_with_testing_each_topic(
    others: list[str], steps: list[tuple[str, list[str], int, str]], compiled: bool
) -> None:
    starts = dict.fromkeys(others + TOPICS * compiled, 3)
    lookup = TopicLookup(starts)
    for step, topics, start, channel in steps:
        if step == "add":
            starts.update(dict.fromkeys(topics, start))
            lookup.add(topics)
        else:
            for topic in topics:
                starts.pop(topic, None)
                lookup.remove(topic)
        wanted = expected(starts, channel)
        assert set(lookup.matching(channel)) == wanted
        assert len(lookup.matching(channel)) == len(wanted)
        found = lookup.earliest(channel)
        assert (found is None) == (not wanted)
        if found is not None:
            assert found in wanted
            assert starts[found] == min(starts[topic] for topic in wanted)
