"""A hub with a memory backend, and what a source has published there."""

import json
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock, deferLater
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from pushd.backends.memory import MemoryBackend
from pushd.core.history import Bounds
from pushd.core.message import Message
from pushd.hub.hub import Hub
from pushd.metrics import Counters
from pushd.sources.publisher import SourcePublisher

_PLENTY = 1 << 30


class SourceHarness:
    """The environment of a source: on a Clock unless the real reactor is passed. Its channel is `ch`."""

    def __init__(self, reactor: Any = None, *, limit: int = 1 << 20, channels: int = 10) -> None:
        self.clock: Any = reactor or Clock()
        self.counters = Counters()
        bounds = Bounds(100_000, _PLENTY, 1e9, _PLENTY, channels)
        self._backend = MemoryBackend(bounds, self.clock, lambda: 1000.0)
        self.hub = Hub(self._backend, self.clock, self.counters)
        self.publisher = SourcePublisher(self.hub, self.counters, "source x", "ch", limit)

    @property
    def messages(self) -> list[Message]:
        """All published messages, oldest first."""
        # Read directly: the hub needs several reactor turns for many messages.
        return [message for message in self._backend._log.timeline.after(0) if message.channel == "ch"]

    @property
    def texts(self) -> list[str]:
        """The data of all published messages."""
        return [message.data.decode() for message in self.messages]

    @property
    def objects(self) -> list[Any]:
        """The decoded JSON of all published messages."""
        return [json.loads(message.data) for message in self.messages]


def result_of(coroutine: Any) -> Any:
    """Return the result of a coroutine that finishes synchronously."""
    found: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(found.append)
    assert found, "the coroutine has not finished"
    if isinstance(found[0], Failure):
        found[0].raiseException()
    return found[0]


def call_now(call: Callable[[], Any]) -> Deferred[Any]:
    """Call synchronously what would be called in a thread."""
    return maybeDeferred(call)


async def until(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    """Run the real reactor until `condition` holds."""
    from twisted.internet import reactor

    deadline = reactor.seconds() + seconds
    while not condition():
        assert reactor.seconds() < deadline, f"not within {seconds} s: {what}"
        await deferLater(reactor, 0.005)


class LogCapture:
    """Captures log events as a context manager."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self._observer = cast(ILogObserver, self.events.append)

    def __enter__(self) -> "LogCapture":
        globalLogPublisher.addObserver(self._observer)
        return self

    def __exit__(self, *_: object) -> None:
        globalLogPublisher.removeObserver(self._observer)

    @property
    def lines(self) -> list[str]:
        """The formatted events of pushd."""
        return [formatEvent(event) for event in self.events if str(event.get("log_namespace")).startswith("pushd.")]
