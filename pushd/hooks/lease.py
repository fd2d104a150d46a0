"""The right of one node to send the events of a hook."""

from collections.abc import Callable
from math import inf
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from pushd.backends.hook_outbox import ACQUIRED_SECONDS, HookOutbox
from pushd.core.errors import Refusal
from pushd.net.eager_task import run_eagerly

RENEW_SECONDS: Final = 3.0


class SenderLease:
    """Acquires the right again and again. It is lost early enough to cancel a request before another node sends.

    :param on_granted: called when this node has become the sender.
    :param on_asked: called with each reply, before the others: `HookOutbox.shared_state` may have changed.
    :param on_lost: called when it is not the sender any more, but not by `stop`.
    """

    log = Logger()

    def __init__(
        self,
        hook: str,
        outbox: HookOutbox,
        clock: Any,
        on_asked: Callable[[], None],
        on_granted: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._hook = hook
        self._outbox = outbox
        self._clock = clock
        self._on_asked = on_asked
        self._on_granted = on_granted
        self._on_lost = on_lost
        self._until = -inf
        self._timer: IDelayedCall | None = None
        self._is_asking = False

    @property
    def is_held(self) -> bool:
        """Whether this node is the sender now."""
        return bool(self._clock.seconds() < self._until)

    def start(self) -> None:
        """Acquire the right from now on."""
        if self._timer is None:
            self._tick()

    def renew(self) -> None:
        """Acquire the right now."""
        if self._timer is not None:
            self._timer.cancel()
            self._tick()

    def stop(self) -> None:
        """Release the right."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._until = -inf
        self._outbox.release(self._hook)

    def _tick(self) -> None:
        self._timer = self._clock.callLater(RENEW_SECONDS, self._tick)
        if not self._is_asking:
            self._is_asking = True
            run_eagerly(self._ask(), lambda failure: self.log.failure("Acquiring the right to send failed", failure))
        if self._until - self._clock.seconds() < RENEW_SECONDS:
            self._lose()

    async def _ask(self) -> None:
        asked = self._clock.seconds()
        try:
            is_granted = await self._outbox.acquire(self._hook)
        except Refusal:  # not known: what was granted before still holds
            return
        finally:
            self._is_asking = False
        if self._timer is None:
            self._outbox.release(self._hook)
            return
        self._on_asked()
        if is_granted:
            was_held = self.is_held
            self._until = asked + ACQUIRED_SECONDS
            if not was_held and self.is_held:
                self._on_granted()
        else:
            self._lose()

    def _lose(self) -> None:
        if self._until != -inf:
            self._until = -inf
            self._on_lost()
