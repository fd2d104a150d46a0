"""Events that are not stored in the outbox yet: they wait in bounded memory while the backend is away."""

from collections import deque
from itertools import islice
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.backends.hook_outbox import EVENT_OVERHEAD, HookEvent, HookOutbox
from pushd.core.errors import Refusal
from pushd.hooks.observer import HookObserver
from pushd.net.eager_task import run_eagerly

MAX_EVENTS: Final = 20_000
MAX_BYTES: Final = 16 << 20
"""The most bytes of waiting events."""
RETRY_SECONDS: Final = 1.0
BATCH: Final = 500
"""The most events that are stored together."""
_LAST_SECONDS: Final = 2.0
"""How long the storing of the last events may delay the shutdown."""
_LOG_SECONDS: Final = 60.0
"""The least time between two log lines about lost events."""


class EventQueue:
    """Stores events in their order. What exceeds its bounds is lost, the oldest first, and counted."""

    log = Logger()

    def __init__(self, outbox: HookOutbox, clock: Any, observer: HookObserver) -> None:
        self._outbox = outbox
        self._clock = clock
        self._observer = observer
        self._waiting: deque[HookEvent] = deque()
        self._storing: tuple[HookEvent, ...] = ()
        self._bytes = 0
        """Bytes of the events that wait or are being stored."""
        self._is_scheduled = False
        self._lost = 0
        """Events lost since the last log line."""
        self._log_again_at = 0.0

    def __len__(self) -> int:
        """Return the number of events that are not stored yet."""
        return len(self._waiting) + len(self._storing)

    def add(self, event: HookEvent) -> None:
        """Store an event soon."""
        self._waiting.append(event)
        self._bytes += _size(event)
        self._drop_excess()
        self._schedule(0)

    async def flush(self) -> None:
        """Store all events for the last time: what the backend does not accept now is lost."""
        storing = Deferred.fromCoroutine(self._store_all())
        try:
            await storing.addTimeout(_LAST_SECONDS, self._clock)
        except Exception:  # the backend is away
            self._waiting.extendleft(reversed(self._storing))
            self._storing = ()
        while self._waiting:
            self._lose()
        self._log_lost()

    def _schedule(self, seconds: float) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._clock.callLater(seconds, lambda: run_eagerly(self._drain(), self._on_bug))

    async def _drain(self) -> None:
        try:
            await self._store_all()
        except Refusal:
            self._is_scheduled = False
            self._schedule(RETRY_SECONDS)
        else:
            self._is_scheduled = False

    async def _store_all(self) -> None:
        """Store the events that wait.

        :raises Refusal: when they cannot be stored now.
        """
        while self._waiting and not self._storing:
            self._storing = tuple(islice(self._waiting, BATCH))
            for _ in self._storing:
                self._waiting.popleft()
            try:
                await self._outbox.add(self._storing)
            except BaseException:
                self._waiting.extendleft(reversed(self._storing))
                self._storing = ()
                self._drop_excess()
                raise
            self._bytes -= sum(map(_size, self._storing))
            self._storing = ()

    def _drop_excess(self) -> None:
        while self._waiting and (len(self) > MAX_EVENTS or self._bytes > MAX_BYTES):
            self._lose()
        if self._lost and self._clock.seconds() >= self._log_again_at:
            self._log_again_at = self._clock.seconds() + _LOG_SECONDS
            self._log_lost()

    def _lose(self) -> None:
        event = self._waiting.popleft()
        self._bytes -= _size(event)
        self._lost += 1
        self._observer.hook_lost[event.hook] += 1

    def _log_lost(self) -> None:
        if self._lost:
            self.log.error("Hooks: {count} events are lost, since the backend does not store them", count=self._lost)
            self._lost = 0

    def _on_bug(self, failure: Failure) -> None:
        self.log.failure("Hooks: storing events failed with an internal error", failure)
        self._is_scheduled = False


def _size(event: HookEvent) -> int:
    return len(event.body) + len(event.channel) + EVENT_OVERHEAD
