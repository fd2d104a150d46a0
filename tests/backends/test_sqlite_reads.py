"""Reads of the file beside commits: a result is used only once everything in it was delivered."""

from twisted.internet.defer import Deferred

from pushd.core.message import draft
from pushd.core.replay import Page
from tests.backends.backend_harness import ids

_SECONDS = 30


def commit_without_delivery(harness, count):
    """Publish to channel `a`, and return the calls by which the writer thread reports the commit to the reactor."""
    Deferred.fromCoroutine(harness.backend.publish([draft("a", b"x") for _ in range(count)]))
    harness.clock.until(lambda: not harness.backend._submitted)
    calls = [harness.clock._calls.get(timeout=_SECONDS)]
    while calls[-1][0] != harness.backend._on_committed:
        calls.append(harness.clock._calls.get(timeout=_SECONDS))
    return calls


def test_a_gap_does_not_cover_messages_that_are_about_to_be_delivered(sqlite):
    harness = sqlite(messages=3)
    harness.publish_each("aaaa")
    calls = commit_without_delivery(harness, 5)
    pages: list[Page] = []
    reading = Deferred.fromCoroutine(harness.backend.page(("a",), harness.cursor_at(0), 10, 1 << 20))
    reading.addCallback(pages.append)
    harness.clock.until(lambda: harness.backend._on_answered)
    assert not pages
    for call in calls:
        harness.clock._calls.put(call)
    harness.clock.until(lambda: pages)
    (page,) = pages
    assert ids(harness.delivered)[-1] == str(page.position) == str(harness.cursor_at(9))
    assert ids(list(page.messages)) == [str(harness.cursor_at(seq)) for seq in (7, 8, 9)]
    assert [gap.end for gap in page.gaps] == [str(harness.cursor_at(6))]


def test_a_read_does_not_wait_when_nothing_is_about_to_be_delivered(sqlite):
    harness = sqlite()
    harness.publish_each("aaa")
    harness.backend._tail.head = 2
    assert harness.replay_since("a", harness.cursor_at(0))[0]
