"""Replay: the values that a backend returns to a subscription with a cursor.

A subscription is opened once, which returns its start position and gaps. Then the history is read page by page, until
the subscription has caught up and is live.
"""

from typing import NamedTuple

from pushd.core.cursor import MessageId
from pushd.core.message import Gap, Message


class KeptMessages(NamedTuple):
    """How many messages of a topic a replay must contain."""

    number: int
    """The number of messages after the start position, up to `upto`."""
    upto: int
    """The sequence of the newest of them, or a greater one."""


class StartPosition(NamedTuple):
    """Where a subscription begins."""

    position: MessageId
    """The subscriber has, or does not request, everything up to this id."""
    gaps: tuple[Gap, ...]
    needs_replay: bool
    """Whether there may be something to read before the subscription is live."""
    is_complete: bool
    """Whether all its channels have ended and the subscriber has all their messages."""
    known_gaps: tuple[Gap, ...] = ()
    """All gaps after `position`, reported or not; only later ones are new. Compared by topic and end."""
    kept: tuple[KeptMessages, ...] = ()
    """For each known gap the messages of its topic that were kept nevertheless. If fewer are read, others were lost
    after the opening. Empty if all known gaps are reported, or if the backend does not count them."""
    start_cursor: MessageId | None = None
    """See `cursor`; None when that is the position."""
    latest_until: MessageId | None = None
    """With `Latest`, the head of the log at the opening: up to there, only the newest message of each channel is read.
    Otherwise None."""

    @property
    def cursor(self) -> MessageId:
        """The start cursor, reported to the client before the first gap or message.

        A subscription that begins there receives the same gaps and messages.
        """
        return self.start_cursor or self.position


class Page(NamedTuple):
    """The next messages of a replay, in id order."""

    messages: tuple[Message, ...]
    gaps: tuple[Gap, ...]
    """The gaps before the messages; may include gaps that were known at the start or reported before."""
    position: MessageId
    """The position of the replay; later than the last message where messages of other channels were skipped."""
    is_last: bool
    """Whether nothing was left to read when the page was made. Also True at `StartPosition.latest_until`: what is newer
    is received live, or read by further pages."""
    ended: tuple[str, ...] = ()
    """On the last page: the channels that have ended."""


def newest_upto(after: MessageId, latest_until: MessageId | None, epoch: str) -> int:
    """Return the sequence up to which a page after `after` has only the newest message of each channel.

    :param epoch: the epoch of the log.
    :return: 0 for a page with all messages.
    """
    if latest_until is None or not epoch == after.epoch == latest_until.epoch or after.seq >= latest_until.seq:
        return 0
    return latest_until.seq


class ChannelInfo(NamedTuple):
    """The state of a channel in a backend."""

    channel: str
    messages: int
    """The number of kept messages."""
    bytes: int
    """The bytes of their data."""
    first: str | None
    """The id of the oldest kept message."""
    last: str | None
    """The id of the newest message, kept or not."""
    time: float | None
    """When it was accepted, in unix seconds."""
    ended: bool
    """Whether the channel has ended."""

    def facts(self, subscribers: int) -> dict[str, object]:
        """Return the public fields, in the order in which they are shown."""
        return {**self._asdict(), "subscribers": subscribers}
