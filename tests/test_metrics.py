"""All refusals are counted, and repeated refusals for the same limit do not fill the log."""

from typing import cast

import pytest
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher

from pushd.core.errors import NotFound, TooLarge, TooManyChannels
from pushd.metrics import Counters, Durations


@pytest.fixture
def lines():
    events: list[LogEvent] = []
    observer = cast(ILogObserver, events.append)
    globalLogPublisher.addObserver(observer)
    yield lambda: [formatEvent(event) for event in events]
    globalLogPublisher.removeObserver(observer)


def test_refusals_for_limits_are_logged_at_most_once_a_second_per_code(lines):
    clock = Clock()
    counters = Counters(clock.seconds)
    for peer in ("sse a", "sse b", "sse c"):
        counters.count_refusal(TooLarge("much"), peer)
    counters.count_refusal(TooManyChannels("many"), "sse d")
    clock.advance(0.9)
    counters.count_refusal(TooLarge("much"), "sse e")
    clock.advance(0.1)
    counters.count_refusal(TooLarge("much"), "sse f")
    clock.advance(1)
    counters.count_refusal(TooLarge("much"), "sse g")
    assert lines() == [
        "sse a: refused, too-large: much",
        "sse d: refused, too-many-channels: many",
        "sse f: refused, too-large: much (3 similar refusals not logged)",
        "sse g: refused, too-large: much",
    ]
    assert counters.refusals == {"too-large": 6, "too-many-channels": 1}


def test_refusal_without_a_limit_is_counted_but_not_logged(lines):
    counters = Counters(Clock().seconds)
    counters.count_refusal(NotFound("nothing here"), "http a")
    assert counters.refusals == {NotFound.code: 1}
    assert not lines()


@pytest.mark.parametrize(("seconds", "bucket"), [(0.0, 0), (0.0005, 0), (0.0006, 1), (5.0, 12), (6.0, 13)])
def test_duration_is_counted_in_first_bucket_whose_bound_it_does_not_exceed(seconds, bucket):
    durations = Durations()
    durations.observe(seconds)
    assert [index for index, count in enumerate(durations.counts) if count] == [bucket]
    assert durations.sum == seconds
