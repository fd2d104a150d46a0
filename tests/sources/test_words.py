"""The source `words`: a word at a time, and an end."""

from twisted.internet.defer import Deferred

from pushd.core.message import draft
from pushd.core.peer import DAEMON
from pushd.sources.words import WordsRunner
from tests.sources.source_harness import SourceHarness, result_of


def run(harness: SourceHarness, text: str, pause: float | None = None) -> Deferred[None]:
    return Deferred.fromCoroutine(WordsRunner(harness.publisher, harness.clock, text, 1.0, pause).run())


def published(harness: SourceHarness) -> list[tuple[str, bool]]:
    return [(message.data.decode(), message.end) for message in harness.messages]


def test_word_is_published_at_each_interval_and_the_last_ends():
    harness = SourceHarness()
    running = run(harness, " I said\nGute Nacht ")
    for expected in (1, 2, 3):
        assert len(harness.messages) == expected
        assert not running.called
        harness.clock.advance(1.0)
    assert published(harness) == [("I", False), ("said", False), ("Gute", False), ("Nacht", True)]
    assert running.called
    assert result_of(harness.hub.queries.status(DAEMON, "ch")).info.ended
    assert {message.content_type for message in harness.messages} == {"text/plain; charset=utf-8"}


def test_single_word_ends_the_channel():
    harness = SourceHarness()
    assert run(harness, "word").called
    assert published(harness) == [("word", True)]


def test_restarts_after_the_pause():
    harness = SourceHarness()
    running = run(harness, "a b", pause=5.0)
    harness.clock.pump([1.0] * 6)
    assert published(harness) == [("a", False), ("b", True), ("a", False)]
    assert not result_of(harness.hub.queries.status(DAEMON, "ch")).info.ended
    harness.clock.advance(1.0)
    assert published(harness)[-1] == ("b", True)
    assert not running.called
    running.addErrback(lambda _: None)
    running.cancel()
    assert not harness.clock.getDelayedCalls()


def test_refused_word_is_retried():
    harness = SourceHarness(channels=1)
    result_of(harness.hub.publish(DAEMON, draft("other", b"1")))
    running = run(harness, "a b")
    harness.clock.pump([1.0] * 3)
    assert published(harness) == []
    result_of(harness.hub.delete(DAEMON, "other"))
    harness.clock.pump([1.0] * 2)
    assert published(harness) == [("a", False), ("b", True)]
    assert running.called
