"""All topics and channels over a small alphabet, for tests by enumeration."""

from collections.abc import Iterator
from itertools import product

from pushd.core.names import check_topic, matches

_DEPTH = 3
_WORDS = ("a", "b", "$a")


def _topics() -> Iterator[str]:
    for depth in range(_DEPTH):
        for segments in product((*_WORDS, "*"), repeat=depth):
            yield check_topic("/".join((*segments, "**")))
            yield from (check_topic("/".join((*segments, last))) for last in (*_WORDS, "*"))


TOPICS = tuple(_topics())
CHANNELS = tuple(
    "/".join(segments) for depth in range(_DEPTH + 1) for segments in product((*_WORDS, "z"), repeat=depth + 1)
)
"""One segment deeper than the topics, with a word that none of them has: topics that agree on these are equal."""
MATCHING = {topic: frozenset(channel for channel in CHANNELS if matches(topic, channel)) for topic in TOPICS}
"""The channels of each topic."""
