"""A hub with a store, and what a source published there."""

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock, deferLater
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from pushd.backends.memory import MemoryBackend
from pushd.core.history import Bounds
from pushd.core.message import Message
from pushd.hub import Hub
from pushd.metrics import Counters
from pushd.sources.publisher import Publisher

_PLENTY = 1 << 30


class Stage:
    """Where a source performs: on a Clock unless the real reactor is given. Its channel is `ch`."""

    def __init__(self, reactor: Any = None, *, limit: int = 1 << 20, channels: int = 10) -> None:
        self.clock: Any = reactor or Clock()
        self.counters = Counters()
        bounds = Bounds(100_000, _PLENTY, 1e9, _PLENTY, channels)
        self._backend = MemoryBackend(bounds, self.clock, lambda: 1000.0)
        self.hub = Hub(self._backend, self.clock, self.counters)
        self.publisher = Publisher(self.hub, self.counters, "source x", "ch", limit)

    @property
    def messages(self) -> list[Message]:
        """All that was published, oldest first."""
        # The hub would take several turns of the reactor for many.
        return [message for message in self._backend._log._timeline.after(0) if message.channel == "ch"]

    @property
    def texts(self) -> list[str]:
        """The data of all that was published."""
        return [message.data.decode() for message in self.messages]

    @property
    def objects(self) -> list[Any]:
        """The same, of messages that are JSON."""
        return [json.loads(message.data) for message in self.messages]


def now(coroutine: Any) -> Any:
    """Give the result of a coroutine that waits for nothing."""
    found: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(found.append)
    assert found, "it waits for something"
    if isinstance(found[0], Failure):
        found[0].raiseException()
    return found[0]


def at_once(call: Callable[[], Any]) -> Deferred[Any]:
    """Call what is to be called aside here and now."""
    return maybeDeferred(call)


async def until(condition: Callable[[], object], what: str, seconds: float = 10.0) -> None:
    """Let the real reactor turn until `condition` holds."""
    from twisted.internet import reactor

    deadline = reactor.seconds() + seconds
    while not condition():
        assert reactor.seconds() < deadline, f"not within {seconds} s: {what}"
        await deferLater(reactor, 0.005)


class Log:
    """The log while it is entered."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def __enter__(self) -> "Log":
        globalLogPublisher.addObserver(self.events.append)
        return self

    def __exit__(self, *_: object) -> None:
        globalLogPublisher.removeObserver(self.events.append)

    @property
    def lines(self) -> list[str]:
        """What sources said."""
        return [formatEvent(event) for event in self.events if str(event.get("log_namespace")).startswith("pushd.")]
