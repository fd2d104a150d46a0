"""The outbox of the SQLite backend: its events are in the file, and are written with the messages."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import inf
from typing import Any, Final

from pushd.backends.hook_outbox import (
    DEFAULT_BOUNDS,
    NO_BACKLOG,
    UNSHARED,
    Backlog,
    HookBounds,
    HookEvent,
    PublishHooks,
    QueuedEvent,
    SharedHookState,
    has_publish_events,
)
from pushd.backends.sqlite.history_reader import HistoryReader
from pushd.backends.sqlite.writer_requests import (
    ConfirmRequest,
    DeadLetterRequest,
    EventRequest,
    PublishEvents,
    Request,
)
from pushd.core.errors import Overloaded
from pushd.core.message import Draft

_MOST: Final = (1 << 63) - 1
_WAITING_BYTES: Final = 64 << 20
"""The most bytes of events that wait for a commit."""

Read = Callable[[Callable[[HistoryReader], Sequence[QueuedEvent]]], Awaitable[Sequence[QueuedEvent]]]


class SqliteOutbox:
    """See `pushd.backends.hook_outbox.HookOutbox`. The one node is the sender of all hooks.

    :param request: processes a request in the writer thread, or raises a refusal.
    :param read: runs a query in a reader thread.
    :param time: returns unix seconds, and seconds of log time.
    :param backlogs: returns the committed backlog of each hook.
    """

    def __init__(
        self,
        request: Callable[[Request], Awaitable[Any]],
        read: Read,
        time: Callable[[], tuple[float, float]],
        backlogs: Callable[[], Mapping[str, Backlog]],
    ) -> None:
        self.publish_hooks: PublishHooks | None = None
        """See `HookOutbox.reconfigure`."""
        self._request = request
        self._read = read
        self._time = time
        self._backlogs = backlogs
        self._bounds: Mapping[str, HookBounds] = {}
        self._on_added: Callable[[str], None] = lambda hook: None
        self._waiting_bytes = 0

    def reconfigure(
        self, bounds: Mapping[str, HookBounds], publish_hooks: PublishHooks | None, on_added: Callable[[str], None]
    ) -> None:
        """See `HookOutbox`, here and below."""
        self._bounds, self.publish_hooks, self._on_added = bounds, publish_hooks, on_added

    async def add(self, events: Sequence[HookEvent]) -> None:
        size = sum(len(event.body) for event in events)
        if self._waiting_bytes + size > _WAITING_BYTES and self._waiting_bytes:
            raise Overloaded("too many events of hooks are waiting to be stored")
        self._waiting_bytes += size
        try:
            await self._request(EventRequest(events, self._bounds_of(event.hook for event in events), *self._time()))
        finally:
            self._waiting_bytes -= size

    async def first(self, hook: str, count: int, size: int) -> Sequence[QueuedEvent]:
        backlog = self._backlogs().get(hook, NO_BACKLOG)
        before = self._time()[0] - self._bounds.get(hook, DEFAULT_BOUNDS).age
        if backlog.oldest is not None and backlog.oldest < before:
            await self._make_dead(hook, _MOST, before, "age")
            backlog = self._backlogs().get(hook, NO_BACKLOG)
        return await self._read(lambda reader: reader.hook_events(hook, count, size)) if backlog.events else ()

    async def confirm(self, hook: str, through: int) -> None:
        await self._request(ConfirmRequest(hook, through, *self._time()))

    async def dead_letter(self, hook: str, through: int, reason: str) -> None:
        await self._make_dead(hook, through, inf, reason)

    async def backlog(self, hook: str) -> Backlog:
        return self._backlogs().get(hook, NO_BACKLOG)

    async def names(self) -> Sequence[str]:
        return sorted(name for name, backlog in self._backlogs().items() if backlog.events)

    async def acquire(self, hook: str) -> bool:
        return True

    async def disable(self, hook: str) -> None:
        pass

    async def resume(self, hook: str) -> None:
        pass

    def shared_state(self, hook: str) -> SharedHookState:
        return UNSHARED

    def release(self, hook: str) -> None:
        pass

    # Publishes and commits

    def events_of(self, drafts: Sequence[Draft]) -> PublishEvents | None:
        """Return the hooks with events of messages, for the request that stores them; None if there are none."""
        hooks = self.publish_hooks
        if hooks is None:
            return None
        found = [
            hooks.hooks_of(draft.channel) if draft.keep and has_publish_events(draft.channel) else ()
            for draft in drafts
        ]
        names = {hook.name for each in found for hook in each}
        return PublishEvents(found, self._bounds_of(names)) if names else None

    def on_committed(self, bounds: Mapping[str, HookBounds]) -> None:
        """Called when events were committed, with the bounds of their hooks."""
        for hook in bounds:
            self._on_added(hook)

    def _bounds_of(self, hooks: Any) -> dict[str, HookBounds]:
        return {hook: self._bounds.get(hook, DEFAULT_BOUNDS) for hook in hooks}

    async def _make_dead(self, hook: str, through: int, before: float, reason: str) -> None:
        while (await self._request(DeadLetterRequest(hook, through, before, reason, *self._time()))).has_more:
            pass
