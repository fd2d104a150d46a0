"""The memory budget: the bytes that may wait in memory for all connections together.

Each queue and each input has a limit of its own, but a hundred thousand times one MiB is more than any machine has. A
message that waits in many queues counts once, since they share it.

Incomplete inputs and unread answers belong to one connection each, its `Holder`. The budget has them in the order of
their progress, so that those without any can be closed first when it is exceeded.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from pushd.core.errors import NoRoom, Refusal, TooManySubscriptions

_ALWAYS_ALLOWED: Final = 64 << 10
"""Bytes that one connection may always hold, so that small requests work while others fill the memory."""
_PROGRESS: Final = 1 << 10
"""Bytes after which an input has made progress: an input that is sent byte by byte makes almost none."""


class SharedItem(Protocol):
    """An object that several queues can hold at a time."""

    holders: int
    """The number of queues that hold it; only the budget changes it."""
    charged: int
    """The bytes that are charged for it; only the budget changes it."""

    @property
    def memory(self) -> int:
        """Bytes of memory."""


class Holder(Protocol):
    """An object that holds bytes for one connection: an incomplete input, or an unread answer."""

    def release_for(self, refusal: Refusal) -> None:
        """Refuse the input, or close the connection, so that the bytes are released at once."""


class _Progress:
    """The progress of a holder."""

    __slots__ = ("bytes", "time")

    def __init__(self, time: float) -> None:
        self.time = time
        """The time of the last progress, in the seconds of the clock."""
        self.bytes = 0
        """Bytes received since."""


class Budget:
    """Counts the bytes of queues, incomplete inputs, unread answers, and topics of connections that have many.

    :param limit: bytes; it can be changed.
    :param clock: returns monotonic seconds.
    :ivar on_exceeded: called whenever the bytes of a connection grow while the limit is exceeded.
    """

    __slots__ = ("_clock", "_holders", "_topics", "_used", "limit", "on_exceeded")

    def __init__(self, limit: int = 256 << 20, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.limit = limit
        self.on_exceeded: Callable[[], object] = lambda: None
        self._clock = clock
        self._used = 0
        self._topics = 0
        """The bytes in use for topics."""
        self._holders: OrderedDict[Holder, _Progress] = OrderedDict()
        """The holders in the order of their last progress."""

    def reconfigure(self, limit: int) -> None:
        """Change the limit, in bytes."""
        self.limit = limit

    @property
    def used(self) -> int:
        """The bytes in use."""
        return self._used

    @property
    def is_over(self) -> bool:
        """Whether the limit is exceeded."""
        return self._used > self.limit

    @property
    def has_room(self) -> bool:
        """Whether at least an eighth is free, so that the budget does not fill up again at once."""
        return self._used <= self.limit - self.limit // 8

    def hold(self, item: SharedItem) -> None:
        """Record one more holder of an item; its bytes count with the first."""
        if not item.holders:
            item.charged = item.memory
            self._used += item.charged
        item.holders += 1

    def release(self, item: SharedItem) -> None:
        """Record one holder less; the bytes are free with the last."""
        item.holders -= 1
        if not item.holders:
            self._used -= item.charged

    def release_all(self, items: Iterable[SharedItem]) -> None:
        """Release several items; see `release`. It takes a third of the time per item."""
        freed = 0
        for each in items:
            each.holders -= 1
            if not each.holders:
                freed += each.charged
        self._used -= freed

    def recount(self, before: int, now: int) -> int:
        """Count `now` bytes instead of `before` for one connection; return `now`."""
        self._used += now - before
        return now

    def grow(self, before: int, now: int, holder: Holder | None = None) -> int:
        """Count `now` bytes instead of `before` for one connection, for example of an incomplete message; return `now`.

        :param holder: recorded until it holds nothing; see `stalled_holders`.
        :raises NoRoom: when it has grown beyond 64 KiB while the budget is exceeded. Nothing changes then.
        """
        if now > before and now > _ALWAYS_ALLOWED and self.is_over:
            self.on_exceeded()
            raise NoRoom("too many bytes are waiting in memory for all connections together; try again in a moment")
        if holder is not None:
            self._record_progress(holder, before, now)
        self._used += now - before
        if now > before and self.is_over:
            self.on_exceeded()
        return now

    def hold_topics(self, before: int, now: int) -> None:
        """Count `now` bytes instead of `before` for the topics of a connection.

        :raises TooManySubscriptions: when topics would take more than half of the limit. Nothing changes then.
        """
        topics = self._topics + now - before
        if now > before and topics > self.limit // 2:
            raise TooManySubscriptions("all connections together must not subscribe to more topics: memory is short")
        self._topics = topics
        self._used += now - before

    def stalled_holders(self, seconds: float) -> list[Holder]:
        """Return the holders that have made no progress for `seconds`, those with the oldest progress first.

        Progress is the first byte, and each KiB after it.
        """
        until = self._clock() - seconds
        stalled = []
        for holder, progress in self._holders.items():
            if progress.time > until:
                break
            stalled.append(holder)
        return stalled

    def _record_progress(self, holder: Holder, before: int, now: int) -> None:
        if not now:
            self._holders.pop(holder, None)
            return
        progress = self._holders.get(holder)
        if progress is None:
            self._holders[holder] = _Progress(self._clock())
            return
        progress.bytes += max(0, now - before)
        if progress.bytes >= _PROGRESS:
            progress.time, progress.bytes = self._clock(), 0
            self._holders.move_to_end(holder)
