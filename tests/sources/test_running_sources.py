"""Sources come, go and change while others go on."""

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from pushd.sources.running_sources import RunningSources


class Source(Service):
    """Notes when it begins and ends; its end is the test's to make."""

    def __init__(self, name: str, events: list[str], ended: Deferred[None]) -> None:
        self._label = name
        self._events = events
        self._ended = ended

    def startService(self) -> None:
        self._events.append(f"{self._label} begins")

    def stopService(self) -> Deferred[None]:
        self._events.append(f"{self._label} ends")
        return self._ended


def test_one_that_stays_is_not_touched_and_the_new_wait_for_the_end_of_the_old() -> None:
    events: list[str] = []
    ended: Deferred[None] = Deferred()

    def build(name: str) -> Callable[[], Any]:
        return lambda: Source(name, events, ended)

    sources = RunningSources({"stays": build("stays"), "goes": build("goes")})
    sources.startService()
    assert events == ["stays begins", "goes begins"]
    reconfiguring = Deferred.fromCoroutine(sources.reconfigure({"stays": build("stays"), "comes": build("comes")}))
    assert events[2:] == ["goes ends"]
    ended.callback(None)
    assert reconfiguring.called
    assert events[3:] == ["comes begins"]
