"""The outbox of a backend that cannot keep the events of hooks."""

from collections.abc import Callable, Mapping, Sequence

from pushd.backends.hook_outbox import NO_BACKLOG, Backlog, HookBounds, HookEvent, PublishHooks, QueuedEvent
from pushd.backends.interface import BackendUnusable
from pushd.core.errors import StorageFailed


class NoOutbox:
    """The outbox of a backend that cannot keep events: it refuses hooks. See `HookOutbox`.

    :param problem: a sentence for the operator.
    """

    def __init__(self, problem: str) -> None:
        self._problem = problem

    def reconfigure(
        self, bounds: Mapping[str, HookBounds], publish_hooks: PublishHooks | None, on_added: Callable[[str], None]
    ) -> None:
        """See `HookOutbox`, here and below."""
        if bounds:
            raise BackendUnusable(self._problem)

    async def add(self, events: Sequence[HookEvent]) -> None:
        if events:
            raise StorageFailed(self._problem)

    async def first(self, hook: str, count: int, size: int) -> Sequence[QueuedEvent]:
        return ()

    async def confirm(self, hook: str, through: int) -> None:
        pass

    async def dead_letter(self, hook: str, through: int, reason: str) -> None:
        pass

    async def backlog(self, hook: str) -> Backlog:
        return NO_BACKLOG

    async def names(self) -> Sequence[str]:
        return ()

    async def acquire(self, hook: str) -> bool:
        return False

    def release(self, hook: str) -> None:
        pass
