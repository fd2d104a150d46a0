"""Which channels have subscribers: the events `occupied` and `vacated`."""

from collections.abc import Awaitable, Callable, Iterable
from itertools import islice, takewhile
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.backends.channel_marks import VACATED_SECONDS, ChannelMarks
from pushd.core.errors import Refusal
from pushd.hooks.hooks import Hooks
from pushd.net.eager_task import run_eagerly

_CHECKED: Final = 500
"""The most channels that are checked in one reactor turn."""
_INTERVAL: Final = 0.05
"""The least time between two checks, in seconds."""


class Occupancy:
    """Records when channels get their first subscriber, and when they have had none for a while.

    Subscribers to patterns are not counted. There are no other nodes; see `SharedOccupancy`.

    :param is_named: returns whether a channel has subscribers now; raises a refusal if that is not known.
    """

    log = Logger()

    def __init__(self, hooks: Hooks, is_named: Callable[[str], Awaitable[bool]], clock: Any) -> None:
        self._hooks = hooks
        self._is_named = is_named
        self._clock = clock
        self._leaving: dict[str, float] = {}
        """Channels without subscribers at this node, each with when that is checked; the first one is due first."""
        self._timer: IDelayedCall | None = None

    def reconfigure(self, channels: Iterable[str]) -> None:
        """Called when the hooks have changed, with all channels that have subscribers."""

    def on_first(self, channel: str) -> None:
        """Called before the first subscriber of this node is added to a channel."""
        if not self._hooks.has("occupied", "vacated") or self._leaving.pop(channel, None) is not None:
            return
        if self._hooks.wants("occupied", channel):
            run_eagerly(self._occupy(channel), self._on_bug)

    def on_last(self, channel: str) -> None:
        """Called when the last subscriber of this node was removed from a channel."""
        if self._hooks.wants("vacated", channel) or self._hooks.wants("occupied", channel):
            self._leaving[channel] = self._clock.seconds() + VACATED_SECONDS
            self._schedule()

    def stop(self) -> None:
        """Check nothing any more."""
        self._leaving.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _occupy(self, channel: str) -> None:
        try:
            if await self._is_named(channel):
                return
        except Refusal:  # better twice than never
            pass
        self._hooks.record("occupied", channel)

    def _schedule(self) -> None:
        if self._timer is None and self._leaving:
            due = next(iter(self._leaving.values()))
            self._timer = self._clock.callLater(max(_INTERVAL, due - self._clock.seconds()), self._check)

    def _check(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        due = takewhile(lambda item: item[1] <= now, self._leaving.items())
        for channel, _ in list(islice(due, _CHECKED)):
            self._leaving[channel] = self._leaving.pop(channel) + VACATED_SECONDS  # if the check fails
            run_eagerly(self._vacate(channel), self._on_bug)
        self._schedule()

    async def _vacate(self, channel: str) -> None:
        try:
            is_named = await self._is_named(channel)
        except Refusal:
            return
        if self._leaving.pop(channel, None) is not None and not is_named:
            self._hooks.record("vacated", channel)

    def _on_bug(self, failure: Failure) -> None:
        self.log.failure("Hooks: a check for subscribers failed with an internal error", failure)


class SharedOccupancy:
    """The same where several nodes share the backend, which adds the events; see `pushd.backends.channel_marks`."""

    def __init__(self, hooks: Hooks, marks: ChannelMarks) -> None:
        self._hooks = hooks
        self._marks = marks

    def reconfigure(self, channels: Iterable[str]) -> None:
        """Called when the hooks have changed, with all channels that have subscribers at this node."""
        has_events = self._hooks.has("occupied", "vacated")
        self._marks.reconfigure(self._hooks.events if has_events else None, filter(self._is_wanted, channels))

    def on_first(self, channel: str) -> None:
        """Called before the first subscriber of this node is added to a channel."""
        if self._is_wanted(channel):
            self._marks.mark(channel)

    def on_last(self, channel: str) -> None:
        """Called when the last subscriber of this node was removed from a channel."""
        self._marks.unmark(channel)

    def stop(self) -> None:
        """Mark nothing any more."""
        self._marks.stop()

    def _is_wanted(self, channel: str) -> bool:
        return self._hooks.wants("occupied", channel) or self._hooks.wants("vacated", channel)
