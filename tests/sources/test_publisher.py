"""The way of a source to the hub: what is refused harms nobody, and the log hears of it once."""

import pytest
from twisted.internet.defer import Deferred

from pushd.core.message import draft
from pushd.sources.publisher import Publisher, Saying
from tests.sources.source_harness import Log, Stage, now


def test_what_a_source_says_is_published_in_order_and_as_it_said_it():
    stage = Stage()
    sayings = [Saying(b"1", "application/json", "first"), Saying(b"\xff"), Saying(b"last", end=True)]
    assert now(stage.publisher.publish(sayings)) == [True, True, True]
    found = [(each.channel, each.data, each.content_type, each.event, each.end) for each in stage.messages]
    assert found == [
        ("ch", b"1", "application/json", "first", False),
        ("ch", b"\xff", "application/octet-stream", None, False),
        ("ch", b"last", "text/plain; charset=utf-8", None, True),
    ]


def test_a_source_may_use_a_name_of_the_daemon():
    stage = Stage()
    publisher = Publisher(stage.hub, stage.counters, "source x", "$sys/x", 10)
    assert now(publisher.publish([Saying(b"1")])) == [True]
    assert now(stage.hub.status("$sys/x")).info.messages == 1


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (Saying(b"x" * 11), "too-large"),
        (Saying(b"no", "application/json"), "bad-json"),
        (Saying(b"x", event="a\nb"), "bad-event"),
    ],
)
def test_what_is_refused_is_counted_and_does_not_hold_up_the_rest(wrong, code):
    stage = Stage(limit=10)
    assert now(stage.publisher.publish([Saying(b"x" * 10), wrong, Saying(b"y")])) == [True, False, True]
    assert stage.texts == ["x" * 10, "y"]
    assert stage.counters.refusals == {code: 1}


def test_a_refusal_is_logged_when_it_comes_and_when_it_is_over():
    stage = Stage(channels=1)
    now(stage.hub.publish(draft("other", b"1")))
    with Log() as log:
        for _ in range(3):
            assert now(stage.publisher.publish([Saying(b"1")])) == [False]
        now(stage.hub.forget("other"))
        for _ in range(3):
            assert now(stage.publisher.publish([Saying(b"1")])) == [True]
    assert log.lines == [
        "source x: refused, too-many-channels: all of the 1 channels that may be known are in use",
        "source x: accepted again",
    ]


def test_a_long_list_lets_the_reactor_have_its_turns():
    stage = Stage()
    said: list[int] = []

    def many():
        for number in range(1000):
            said.append(number)
            yield Saying(b"x")

    publishing = Deferred.fromCoroutine(stage.publisher.publish(many()))
    assert not publishing.called
    assert 0 < len(said) < 1000
    for _ in range(10):
        stage.clock.advance(0)
    assert publishing.called
    assert len(stage.messages) == 1000


def test_lines_that_were_cut_off_are_counted():
    stage = Stage()
    stage.publisher.count_cut(0)
    assert "line-too-long" not in stage.counters.refusals
    stage.publisher.count_cut(2)
    assert stage.counters.refusals == {"line-too-long": 2}
