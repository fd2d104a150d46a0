"""Sources come, go and change while others go on."""

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from pushd.sources.running_sources import Present


class Source(Service):
    """Notes when it begins and ends; its end is the test's to make."""

    def __init__(self, name: str, diary: list[str], ended: Deferred[None]) -> None:
        self._called = name
        self._diary = diary
        self._ended = ended

    def startService(self) -> None:
        self._diary.append(f"{self._called} begins")

    def stopService(self) -> Deferred[None]:
        self._diary.append(f"{self._called} ends")
        return self._ended


def test_one_that_stays_is_not_touched_and_the_new_wait_for_the_end_of_the_old() -> None:
    diary: list[str] = []
    ended: Deferred[None] = Deferred()

    def build(name: str) -> Callable[[], Any]:
        return lambda: Source(name, diary, ended)

    present = Present({"stays": build("stays"), "goes": build("goes")})
    present.startService()
    assert diary == ["stays begins", "goes begins"]
    becoming = Deferred.fromCoroutine(present.become({"stays": build("stays"), "comes": build("comes")}))
    assert diary[2:] == ["goes ends"]
    ended.callback(None)
    assert becoming.called
    assert diary[3:] == ["comes begins"]
