"""When members that have left were seen last."""

from collections import OrderedDict
from typing import Final

from pushd.core.presence import Row, Seen

KEPT_SECONDS: Final = 24 * 3600.0
MAX_KEPT: Final = 100_000
"""The most members that are remembered; those that left first are forgotten first."""
_FORGOTTEN_STEP: Final = 100


class LastSeen:
    """The members that have left, for a day, in the order in which they left.

    `now` is monotonic seconds.
    """

    def __init__(self) -> None:
        self._left: OrderedDict[tuple[str, str], tuple[float, float, int | None]] = OrderedDict()
        """By channel and id: when it left, in monotonic seconds, and the parts of `Seen`."""
        self._forgotten: set[tuple[str, str]] = set()

    def __len__(self) -> int:
        """Return the number of members that are remembered."""
        return len(self._left)

    def add(self, channel: str, id: str, now: float, last: float, lag: int | None) -> None:
        """Remember a member that leaves."""
        key = channel, id
        self._left.pop(key, None)
        self._left[key] = now, last, lag
        self._forgotten.discard(key)
        if len(self._left) > MAX_KEPT:
            self._forgotten.add(self._left.popitem(last=False)[0])

    def discard(self, channel: str, id: str) -> None:
        """Forget a member, which is there again."""
        self._left.pop((channel, id), None)

    def expire(self, now: float) -> None:
        """Forget members that left too long ago, at most a few: it is called with each change."""
        for _ in range(_FORGOTTEN_STEP):
            if not self._left or self._left[first := next(iter(self._left))][0] + KEPT_SECONDS > now:
                break
            del self._left[first]
            self._forgotten.add(first)

    def get(self, channel: str, id: str) -> Seen | None:
        """Return when a member was seen last; None if it is not remembered."""
        entry = self._left.get((channel, id))
        return None if entry is None else Seen(False, entry[1], entry[2])

    def row(self, channel: str, id: str) -> Row | None:
        """Return what is stored of a member; None if it is not remembered."""
        entry = self._left.get((channel, id))
        return None if entry is None else Row(channel, id, 0.0, None, None, entry[1], entry[2], entry[0])

    def take_forgotten(self) -> set[tuple[str, str]]:
        """Return the members that were forgotten since the last call."""
        forgotten, self._forgotten = self._forgotten, set()
        return forgotten
