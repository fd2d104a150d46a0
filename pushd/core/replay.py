"""Replay: what a returning subscriber is told. Values only; `core.log` answers them, and so does every other store.

A subscription is opened once, which says where it begins and what is gone; then it is read page by page until
it has caught up.
"""

from typing import NamedTuple

from pushd.core.cursor import MessageId
from pushd.core.message import Gap, Message


class StartPosition(NamedTuple):
    """Where a subscription begins."""

    position: MessageId
    """It has, or does not ask for, all up to here."""
    gaps: tuple[Gap, ...]
    needs_replay: bool
    """Whether there may be something to read before it is live."""
    is_complete: bool
    """Whether all its channels have ended and it has heard them out."""
    known_gaps: tuple[Gap, ...] = ()
    """What is gone behind `position`, told or not: only what goes later is news. Compared by topic and end."""


class Page(NamedTuple):
    """The next messages of a replay, in id order."""

    messages: tuple[Message, ...]
    gaps: tuple[Gap, ...]
    """What is gone and comes before the messages; what was known at the opening or told before may stand here again."""
    position: MessageId
    """The replay has got as far as this, which is beyond the last message where others were passed over."""
    is_last: bool
    """Whether nothing was left when the page was made."""
    ended: tuple[str, ...] = ()
    """With the last page: the channels that have ended."""


class ChannelInfo(NamedTuple):
    """What a store knows of a channel."""

    channel: str
    messages: int
    bytes: int
    first: str | None
    """The id of the oldest kept message."""
    last: str | None
    """The id of the newest message, kept or not."""
    time: float | None
    """When it was accepted, in unix seconds."""
    ended: bool

    def facts(self, subscribers: int) -> dict[str, object]:
        """Give what anybody may know, in the order in which it is shown."""
        return {**self._asdict(), "subscribers": subscribers}
