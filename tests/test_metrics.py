"""Refusals are all counted, and a flood of them does not fill the log."""

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from pushd.core.errors import BadChannel, TooLarge, TooManyConnections
from pushd.metrics import Counters


@pytest.fixture
def lines():
    """What is logged."""
    said: list[str] = []

    def hear(event: LogEvent) -> None:
        said.append(formatEvent(event))

    globalLogPublisher.addObserver(hear)
    yield said
    globalLogPublisher.removeObserver(hear)


def test_a_limit_is_logged_once_a_second_with_the_number_of_those_left_out(lines):
    clock = Clock()
    counters = Counters(clock.seconds)
    for peer in "abc":
        counters.refused(TooLarge("too big"), peer)
    counters.refused(TooManyConnections("too many"), "d")
    clock.advance(0.99)
    counters.refused(TooLarge("too big"), "e")
    clock.advance(0.01)
    counters.refused(TooLarge("too big"), "f")
    clock.advance(1)
    counters.refused(TooLarge("too big"), "g")
    assert lines == [
        "a: refused, too-large: too big",
        "d: refused, too-many-connections: too many",
        "f: refused, too-large: too big (and 3 more of these before)",
        "g: refused, too-large: too big",
    ]
    assert counters.refusals == {"too-large": 6, "too-many-connections": 1}


def test_what_passes_no_limit_is_counted_only(lines):
    counters = Counters(Clock().seconds)
    counters.refused(BadChannel("bad"), "a")
    assert lines == []
    assert counters.refusals == {"bad-channel": 1}
