"""The service of the hub and its backend, and the choice of the backend."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.backends.interface import Backend, BackendUnusable
from pushd.backends.memory import MemoryBackend
from pushd.backends.redis.address import parse_url
from pushd.config.table import Config
from pushd.core.history import EVENT_BOUNDS, Bounds
from pushd.hub.hub import Hub
from pushd.net.listeners import CannotStart


class Timer(Protocol):
    """A part with periodic work."""

    def start(self) -> None:
        """Start the work."""

    def stop(self) -> None:
        """Stop the work."""


def check_backend_usable(config: Config) -> str | None:
    """Check the history on the disk of this machine, if there is one; return a sentence about it.

    :raises BackendUnusable: when it cannot be used; the text is a sentence.
    """
    if not config.backend.data_dir:
        return None
    from pushd.backends.sqlite.history_check import check_history

    return check_history(config.backend.data_dir)


def make_backend(config: Config, reactor: Any) -> Backend:
    """Return the configured backend."""
    # Backends are imported where they are chosen: their libraries take time and memory.
    chosen, history, presence, channels = config.backend, config.history, config.presence, config.limits.channels
    rules = config.channels
    events = EVENT_BOUNDS._replace(
        messages=presence.events, age=presence.age, total_bytes=presence.event_bytes, channels=channels
    )
    bounds = Bounds(history.messages, history.bytes, history.age, history.total_bytes, channels, events)
    if chosen.data_dir:
        from pushd.backends.sqlite.backend import SqliteBackend

        return SqliteBackend(chosen.data_dir, bounds, reactor, time.time, chosen.sync, rules)
    if not chosen.url:
        file = config.auth.revocations_file
        return MemoryBackend(bounds, reactor, time.time, revocations=Path(file) if file else None, rules=rules)
    from pushd.backends.redis.backend import RedisBackend, RedisOptions

    options = RedisOptions(chosen.prefix, chosen.publish_timeout, chosen.when_away == "local", chosen.ca_file)
    return RedisBackend(parse_url(chosen.url), options, bounds, reactor, time.time, rules)


class BackendService(Service):
    """Starts and stops the hub with its backend, and the timers."""

    log = Logger()

    def __init__(self, hub: Hub, timers: Sequence[Timer]) -> None:
        self._hub = hub
        self._timers = timers

    def startService(self) -> None:
        """Start.

        :raises CannotStart: when the backend cannot be used, which it reports before it waits for anything.
        """
        super().startService()
        for timer in self._timers:
            timer.start()
        unusable: list[Failure] = []
        starting = Deferred.fromCoroutine(self._hub.start())
        starting.addErrback(self._on_failure, unusable)
        if unusable:
            raise CannotStart(unusable[0].getErrorMessage())

    def stopService(self) -> Deferred[Any]:
        """Stop; the Deferred fires when the backend has stopped."""
        super().stopService()
        for timer in self._timers:
            timer.stop()
        return Deferred.fromCoroutine(self._hub.stop())

    def _on_failure(self, failure: Failure, unusable: list[Failure]) -> None:
        if failure.check(BackendUnusable):
            unusable.append(failure)
        else:
            self.log.failure("Backend failed to start", failure)
