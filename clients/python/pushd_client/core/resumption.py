"""What a subscription has received, and from where it resumes. Pure: no connection, no clock."""

from collections.abc import Sequence

from ..messages import End, Gap, Item, Message


class Resumption:
    """The cursor of a subscription, and what was reported since.

    A message moves the cursor. Gaps and ends do not, since they may be sent again after the connection was lost; such a
    repeat is recognized and left out.

    :param topics: the channels and patterns.
    """

    def __init__(self, topics: Sequence[str]) -> None:
        self.cursor: str | None = None
        """Where to resume; None before the first `begin`."""
        self._topics = topics
        self._reported: set[Gap | End] = set()
        """The gaps and ends since the cursor was moved."""
        self._ended: set[str] = set()
        """The channels that have ended, and not begun anew."""

    def begin(self, cursor: str) -> None:
        """Take the start cursor of a connection. After a reconnect it is the one that was sent."""
        if self.cursor is None:
            self.cursor = cursor

    def accept(self, item: Item) -> bool:
        """Take an item before it is yielded; return whether it is new."""
        if isinstance(item, Message):
            self._ended.discard(item.channel)
            if item.id is not None:
                self.cursor = item.id
                self._reported.clear()
            return True
        if isinstance(item, End):
            self._ended.add(item.channel)
        if item in self._reported:
            return False
        self._reported.add(item)
        return True

    @property
    def is_complete(self) -> bool:
        """Whether every topic is a channel that has ended."""
        return all(topic in self._ended for topic in self._topics)

    def missing_ends(self) -> list[Item]:
        """Return the ends that were not reported yet, when the daemon says that all channels have ended."""
        return [End(topic) for topic in self._topics if topic not in self._ended and "*" not in topic]
