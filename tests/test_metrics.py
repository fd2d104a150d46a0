"""Counting refusals: all are counted, and the log is not filled by those who meet a limit over and over."""

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


def test_the_log_names_who_met_a_limit_at_most_once_a_second_for_each_code(lines):
    clock = Clock()
    counters = Counters(clock.seconds)
    for peer in ("sse a", "sse b", "sse c"):
        counters.refused(TooLarge("much"), peer)
    counters.refused(TooManyChannels("many"), "sse d")
    clock.advance(0.9)
    counters.refused(TooLarge("much"), "sse e")
    clock.advance(0.1)
    counters.refused(TooLarge("much"), "sse f")
    clock.advance(1)
    counters.refused(TooLarge("much"), "sse g")
    assert lines() == [
        "sse a: refused, too-large: much",
        "sse d: refused, too-many-channels: many",
        "sse f: refused, too-large: much (3 more since the last such line)",
        "sse g: refused, too-large: much",
    ]
    assert counters.refusals == {"too-large": 6, "too-many-channels": 1}


def test_a_refusal_for_no_limit_is_counted_and_not_logged(lines):
    counters = Counters(Clock().seconds)
    counters.refused(NotFound("nothing here"), "http a")
    assert counters.refusals == {NotFound.code: 1}
    assert not lines()


@pytest.mark.parametrize(("seconds", "place"), [(0.0, 0), (0.0005, 0), (0.0006, 1), (5.0, 12), (6.0, 13)])
def test_a_duration_is_in_the_bucket_whose_bound_it_does_not_pass(seconds, place):
    durations = Durations()
    durations.observe(seconds)
    assert [at for at, count in enumerate(durations.counts) if count] == [place]
    assert durations.sum == seconds
