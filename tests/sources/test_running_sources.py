"""Sources are added, removed and changed while others keep running."""

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from pushd.sources.running_sources import RunningSources


class Source(Service):
    """A source that records its start and stop; the test finishes the stop."""

    def __init__(self, name: str, events: list[str], ended: Deferred[None]) -> None:
        self._label = name
        self._events = events
        self._ended = ended

    def startService(self) -> None:
        self._events.append(f"{self._label} starts")

    def stopService(self) -> Deferred[None]:
        self._events.append(f"{self._label} stops")
        return self._ended


def test_unchanged_source_is_kept_and_new_ones_wait_for_removed_ones() -> None:
    events: list[str] = []
    ended: Deferred[None] = Deferred()

    def build(name: str) -> Callable[[], Any]:
        return lambda: Source(name, events, ended)

    sources = RunningSources({"kept": build("kept"), "removed": build("removed")})
    sources.startService()
    assert events == ["kept starts", "removed starts"]
    reconfiguring = Deferred.fromCoroutine(sources.reconfigure({"kept": build("kept"), "added": build("added")}))
    assert events[2:] == ["removed stops"]
    ended.callback(None)
    assert reconfiguring.called
    assert events[3:] == ["added starts"]
