"""The publisher of a source: refusals are isolated, counted and logged once."""

import pytest
from twisted.internet.defer import Deferred

from pushd.core.message import draft
from pushd.core.peer import DAEMON
from pushd.sources.publisher import SourceMessage, SourcePublisher
from tests.sources.source_harness import LogCapture, SourceHarness, result_of


def test_messages_are_published_in_order_and_unchanged():
    harness = SourceHarness()
    messages = [
        SourceMessage(b"1", "application/json", "first"),
        SourceMessage(b"\xff"),
        SourceMessage(b"last", end=True),
    ]
    assert result_of(harness.publisher.publish(messages)) == [True, True, True]
    found = [(each.channel, each.data, each.content_type, each.event, each.end) for each in harness.messages]
    assert found == [
        ("ch", b"1", "application/json", "first", False),
        ("ch", b"\xff", "application/octet-stream", None, False),
        ("ch", b"last", "text/plain; charset=utf-8", None, True),
    ]


def test_source_may_publish_to_a_reserved_channel():
    harness = SourceHarness()
    publisher = SourcePublisher(harness.hub, harness.counters, "source x", "$sys/x", 10)
    assert result_of(publisher.publish([SourceMessage(b"1")])) == [True]
    assert result_of(harness.hub.queries.status(DAEMON, "$sys/x")).info.messages == 1


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (SourceMessage(b"x" * 11), "too-large"),
        (SourceMessage(b"\xfc" * 6, "text/plain; charset=iso-8859-1"), "too-large"),
        (SourceMessage(b"no", "application/json"), "bad-json"),
        (SourceMessage(b"x", event="a\nb"), "bad-event"),
    ],
)
def test_refused_message_is_counted_and_others_are_published(wrong, code):
    harness = SourceHarness(limit=10)
    assert result_of(harness.publisher.publish([SourceMessage(b"x" * 10), wrong, SourceMessage(b"y")])) == [
        True,
        False,
        True,
    ]
    assert harness.texts == ["x" * 10, "y"]
    assert harness.counters.refusals == {code: 1}


def test_refusals_are_logged_when_they_start_and_end():
    harness = SourceHarness(channels=1)
    result_of(harness.hub.publish(DAEMON, draft("other", b"1")))
    with LogCapture() as log:
        for _ in range(3):
            assert result_of(harness.publisher.publish([SourceMessage(b"1")])) == [False]
        result_of(harness.hub.delete(DAEMON, "other"))
        for _ in range(3):
            assert result_of(harness.publisher.publish([SourceMessage(b"1")])) == [True]
    assert log.lines == [
        "source x: publish refused, too-many-channels: too many channels: all of the 1 that are accepted are in use",
        "source x: publishes are accepted again",
    ]


def test_many_messages_do_not_block_the_reactor():
    harness = SourceHarness()
    drawn: list[int] = []

    def many():
        for number in range(1000):
            drawn.append(number)
            yield SourceMessage(b"x")

    publishing = Deferred.fromCoroutine(harness.publisher.publish(many()))
    assert not publishing.called
    assert 0 < len(drawn) < 1000
    for _ in range(10):
        harness.clock.advance(0)
    assert publishing.called
    assert len(harness.messages) == 1000


def test_truncated_lines_are_counted():
    harness = SourceHarness()
    harness.publisher.count_truncated(0)
    assert "line-too-long" not in harness.counters.refusals
    harness.publisher.count_truncated(2)
    assert harness.counters.refusals == {"line-too-long": 2}
