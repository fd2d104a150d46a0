"""A finite stream: a word at a time, and an end."""

from twisted.internet.defer import Deferred

from pushd.core.message import draft
from pushd.sources.words import Words
from tests.sources.source_harness import Stage, now


def run(stage: Stage, text: str, pause: float | None = None) -> Deferred[None]:
    return Deferred.fromCoroutine(Words(stage.publisher, stage.clock, text, 1.0, pause).run())


def said(stage: Stage) -> list[tuple[str, bool]]:
    return [(message.data.decode(), message.end) for message in stage.messages]


def test_a_word_is_said_each_interval_and_the_last_ends_the_channel():
    stage = Stage()
    running = run(stage, " I said\nGute Nacht ")
    for expected in (1, 2, 3):
        assert len(stage.messages) == expected
        assert not running.called
        stage.clock.advance(1.0)
    assert said(stage) == [("I", False), ("said", False), ("Gute", False), ("Nacht", True)]
    assert running.called
    assert now(stage.hub.status("ch")).info.ended
    assert {message.content_type for message in stage.messages} == {"text/plain; charset=utf-8"}


def test_one_word_is_beginning_and_end():
    stage = Stage()
    assert run(stage, "word").called
    assert said(stage) == [("word", True)]


def test_it_begins_anew_after_the_pause():
    stage = Stage()
    running = run(stage, "a b", pause=5.0)
    stage.clock.pump([1.0] * 6)
    assert said(stage) == [("a", False), ("b", True), ("a", False)]
    assert not now(stage.hub.status("ch")).info.ended
    stage.clock.advance(1.0)
    assert said(stage)[-1] == ("b", True)
    assert not running.called
    running.addErrback(lambda _: None)
    running.cancel()
    assert not stage.clock.getDelayedCalls()


def test_a_word_that_is_refused_is_said_again():
    stage = Stage(channels=1)
    now(stage.hub.publish(draft("other", b"1")))
    running = run(stage, "a b")
    stage.clock.pump([1.0] * 3)
    assert said(stage) == []
    now(stage.hub.forget("other"))
    stage.clock.pump([1.0] * 2)
    assert said(stage) == [("a", False), ("b", True)]
    assert running.called
