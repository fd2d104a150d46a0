"""The memory budget: the bytes that may wait in memory for all connections together.

Each queue and each input has a limit of its own, but a hundred thousand times one MiB is more than any machine has. A
message that waits in many queues counts once, since they share it.
"""

from collections.abc import Iterable
from typing import Final, Protocol

from pushd.core.errors import NoRoom

_ALWAYS_ALLOWED: Final = 64 << 10
"""Bytes that one connection may always hold, so that small requests work while others fill the memory."""


class SharedItem(Protocol):
    """An object that several queues can hold at a time."""

    size: int
    """Bytes."""
    holders: int
    """The number of queues that hold it; only the budget changes it."""


class Budget:
    """Counts the bytes of queues and incomplete inputs.

    :param limit: bytes; it can be changed.
    """

    __slots__ = ("_used", "limit")

    def __init__(self, limit: int = 256 << 20) -> None:
        self.limit = limit
        self._used = 0

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
            self._used += item.size
        item.holders += 1

    def release(self, item: SharedItem) -> None:
        """Record one holder less; the bytes are free with the last."""
        item.holders -= 1
        if not item.holders:
            self._used -= item.size

    def release_all(self, items: Iterable[SharedItem]) -> None:
        """Release several items; see `release`. It takes a third of the time per item."""
        freed = 0
        for each in items:
            each.holders -= 1
            if not each.holders:
                freed += each.size
        self._used -= freed

    def recount(self, before: int, now: int) -> int:
        """Count `now` bytes instead of `before` for one connection; return `now`."""
        self._used += now - before
        return now

    def grow(self, before: int, now: int) -> int:
        """Count `now` bytes instead of `before` for one connection, for example of an incomplete message; return `now`.

        :raises NoRoom: when it has grown beyond 64 KiB while the budget is exceeded. Nothing changes then.
        """
        if now > before and now > _ALWAYS_ALLOWED and self.is_over:
            raise NoRoom("too many bytes are waiting in memory for all connections together; try again in a moment")
        return self.recount(before, now)
