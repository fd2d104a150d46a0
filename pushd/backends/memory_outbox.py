"""The outbox of the memory backend."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

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
)
from pushd.backends.hook_queue import HookQueue
from pushd.core.message import Draft, Message
from pushd.core.steps import Steps
from pushd.net.turn_slices import Slices
from pushd.wire.hook_events import dead_letter_draft

_DEAD_BY_ADD: Final = 16
"""The most events that become dead letters with each one that is added."""
_DEAD_IN_STEP: Final = 100
"""Those in one step of other calls: about a millisecond."""


class MemoryOutbox:
    """See `pushd.backends.hook_outbox.HookOutbox`. The one node is the sender of all hooks.

    :param publish: appends a message to the log and delivers it, or returns a refusal.
    :param slices: for operations of several reactor turns.
    :param wall: returns unix seconds.
    """

    def __init__(self, publish: Callable[[Draft], object], slices: Slices, wall: Callable[[], float]) -> None:
        self.publish_hooks: PublishHooks | None = None
        """See `HookOutbox.reconfigure`."""
        self._publish = publish
        self._slices = slices
        self._wall = wall
        self._bounds: Mapping[str, HookBounds] = {}
        self._queues: dict[str, HookQueue] = {}
        self._on_added: Callable[[str], None] = lambda hook: None

    def reconfigure(
        self, bounds: Mapping[str, HookBounds], publish_hooks: PublishHooks | None, on_added: Callable[[str], None]
    ) -> None:
        """See `HookOutbox`, here and below."""
        self._bounds, self.publish_hooks, self._on_added = bounds, publish_hooks, on_added

    async def add(self, events: Sequence[HookEvent]) -> None:
        time = self._wall()
        for hook, channel, body in events:
            self._queue(hook).add(channel, time, body)
            self._trim(hook)
        for name in dict.fromkeys(event.hook for event in events):
            self._on_added(name)

    def on_published(self, message: Message) -> None:
        """Called with each message that was appended to a channel of users, while there are publish hooks."""
        for hook in self.publish_hooks.hooks_of(message.channel) if self.publish_hooks else ():
            self._queue(hook.name).add_publish(message, has_content=hook.has_content)
            self._trim(hook.name)
            self._on_added(hook.name)

    async def first(self, hook: str, count: int, size: int) -> Sequence[QueuedEvent]:
        queue = self._queues.get(hook)
        if queue is None:
            return ()
        await self._slices.run(self._remove_old(hook, queue))
        return queue.first(count, size)

    async def confirm(self, hook: str, through: int) -> None:
        if hook in self._queues:
            self._queues[hook].remove(through)

    async def dead_letter(self, hook: str, through: int, reason: str) -> None:
        if hook in self._queues:
            await self._slices.run(self._dead_letter(hook, self._queues[hook], through, reason))

    async def backlog(self, hook: str) -> Backlog:
        return self._queues[hook].backlog if hook in self._queues else NO_BACKLOG

    async def names(self) -> Sequence[str]:
        return sorted(name for name, queue in self._queues.items() if queue)

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

    def _queue(self, hook: str) -> HookQueue:
        queue = self._queues.get(hook)
        if queue is None:
            queue = self._queues[hook] = HookQueue(hook)
        return queue

    def _trim(self, hook: str) -> None:
        """Make dead letters of the oldest events beyond the bounds."""
        queue, bounds = self._queues[hook], self._bounds.get(hook, DEFAULT_BOUNDS)
        for _ in range(_DEAD_BY_ADD):
            if not queue.exceeds(bounds):
                break
            self._make_dead(hook, queue, "backlog")

    def _remove_old(self, hook: str, queue: HookQueue) -> Steps[None]:
        before = self._wall() - self._bounds.get(hook, DEFAULT_BOUNDS).age
        while queue.is_first_before(before):
            for _ in range(_DEAD_IN_STEP):
                if queue.is_first_before(before):
                    self._make_dead(hook, queue, "age")
            yield

    def _dead_letter(self, hook: str, queue: HookQueue, through: int, reason: str) -> Steps[None]:
        while queue.is_first_through(through):
            for _ in range(_DEAD_IN_STEP):
                if queue.is_first_through(through):
                    self._make_dead(hook, queue, reason)
            yield

    def _make_dead(self, hook: str, queue: HookQueue, reason: str) -> None:
        """Make a dead letter of the oldest event."""
        queue.dead += 1
        self._publish(dead_letter_draft(hook, reason, queue.pop().body))
