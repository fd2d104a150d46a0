"""The budget: how many bytes may wait in memory in all, whoever they wait for.

Each queue has a limit of its own, and so has each input; but a hundred thousand times one MiB is more than any machine
has. A message that waits for many counts once, since it is there once.
"""

from collections.abc import Iterable
from typing import Final, Protocol

from pushd.core.errors import NoRoom

_LITTLE: Final = 64 << 10
"""Bytes that a connection may always have on their way, so that who needs little goes on while others fill the memory.
"""


class SharedItem(Protocol):
    """What several may hold at a time."""

    size: int
    """Bytes."""
    holders: int
    """How many hold it; only the budget counts them."""


class Budget:
    """Counts the bytes that wait.

    :ivar limit: bytes.
    """

    __slots__ = ("_used", "limit")

    def __init__(self, limit: int = 256 << 20) -> None:
        self.limit = limit
        self._used = 0

    @property
    def used(self) -> int:
        """The bytes that wait now."""
        return self._used

    @property
    def is_over(self) -> bool:
        """Whether more waits than may."""
        return self._used > self.limit

    @property
    def has_room(self) -> bool:
        """Whether there is room again: an eighth, so that it takes a while until it is full once more."""
        return self._used <= self.limit - self.limit // 8

    def hold(self, item: SharedItem) -> None:
        """Let one more hold something; only the first counts."""
        if not item.holders:
            self._used += item.size
        item.holders += 1

    def release(self, item: SharedItem) -> None:
        """Let one who held it hold it no more."""
        item.holders -= 1
        if not item.holders:
            self._used -= item.size

    def release_all(self, held: Iterable[SharedItem]) -> None:
        """Release several; see `release`. It costs a third for each."""
        freed = 0
        for each in held:
            each.holders -= 1
            if not each.holders:
                freed += each.size
        self._used -= freed

    def recount(self, before: int, now: int) -> int:
        """Let what is one connection's alone count `now` bytes and no more `before`; give `now`."""
        self._used += now - before
        return now

    def grow(self, before: int, now: int) -> int:
        """Let what is one connection's alone count so, as what has come of a message and waits for the rest is.

        :raises NoRoom: it has grown, to more than a little, and too much waits in all. It counts as before.
        """
        if now > before and now > _LITTLE and self.is_over:
            raise NoRoom("too much waits in memory for all together; try again in a moment")
        return self.recount(before, now)
