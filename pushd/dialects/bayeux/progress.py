"""How far a session has read: its topics, and two cursors (pure).

A session keeps no messages. Whatever it has not acknowledged is read from the history again. The number of an
acknowledgement is the sequence of the cursor of the answer, so that it means the same at every node.
"""

from collections.abc import Mapping
from typing import Any, Self

from pushd.core.cursor import MessageId, parse_id
from pushd.core.message import Gap, Message
from pushd.core.names import matches


class Progress:
    """The topics of a session, and what its client has of them.

    :ivar confirmed: up to here the client has everything; None before the first topic.
    :ivar sent: up to here everything was sent; None if that is not known.
    """

    __slots__ = ("_doubtful", "_stale", "_starts", "confirmed", "sent")

    def __init__(self) -> None:
        self._starts: dict[str, MessageId | None] = {}
        """The topics. Of one that was added while the client did not have everything before, only messages after a
        start are delivered."""
        self._stale = 0
        """Numbers up to this one may be of answers from before a topic was added that begins earlier."""
        self._doubtful: MessageId | None = None
        """A start of topics, as long as the client has not told whether it has what was sent up to `_stale`."""
        self.confirmed: MessageId | None = None
        self.sent: MessageId | None = None

    @property
    def topics(self) -> Mapping[str, MessageId | None]:
        """The topics, with their starts."""
        return self._starts

    @property
    def batch(self) -> int:
        """The number by which the client acknowledges what was sent."""
        position = self.sent or self.confirmed
        return 0 if position is None else position.seq

    def add(self, topic: str, start: MessageId, *, is_resumed: bool = False) -> None:
        """Add a topic of which all messages after `start` are delivered. One that is there already is unchanged, unless
        it begins earlier now.

        :param is_resumed: whether the client has given `start`, which may be of an earlier epoch.
        """
        confirmed = self.confirmed
        if confirmed is None or not self._starts:
            self._starts[topic] = None
            self.confirmed = self.sent = start
        elif start.seq < confirmed.seq if start.epoch == confirmed.epoch else is_resumed:
            self._starts = {other: at or confirmed for other, at in self._starts.items()}
            self._starts[topic] = None
            if self.sent != confirmed:
                self._doubtful = confirmed
            self._stale = max(self._stale, confirmed.seq, (self.sent or confirmed).seq)
            self.confirmed = self.sent = start
        elif topic not in self._starts:
            self._starts[topic] = None if start == confirmed else start

    def remove(self, topic: str) -> bool:
        """Remove a topic; return whether it was there."""
        return self._starts.pop(topic, self) is not self

    def acknowledge(self, number: int) -> None:
        """Record the number that the client has sent. A lower one than the last is of a lost answer."""
        confirmed, sent = self.confirmed, self.sent
        if confirmed is None:
            return
        doubtful, self._doubtful = self._doubtful, None
        if doubtful is not None and number >= self._stale:
            upto = doubtful._replace(seq=self._stale)
            self._starts = {topic: upto if start == doubtful else start for topic, start in self._starts.items()}
        if sent is not None and number == sent.seq:
            self._confirm(sent)
        elif number > max(confirmed.seq, self._stale) and (
            sent is None or (sent.epoch == confirmed.epoch and number < sent.seq)
        ):
            self._confirm(confirmed._replace(seq=number))

    def advance(self, position: MessageId, *, is_confirmed: bool) -> None:
        """Record up to where an answer goes.

        :param is_confirmed: whether the client has it: it does not acknowledge, or there is nothing for it.
        """
        self.sent = position
        if is_confirmed:
            self._confirm(position)

    def accepts(self, message: Message) -> bool:
        """Return whether a message of the topics is delivered."""
        if not any(self._starts.values()):
            return True
        return any(
            _is_after(start, message) for topic, start in self._starts.items() if matches(topic, message.channel)
        )

    def accepts_gap(self, gap: Gap) -> bool:
        """Return whether a gap is reported: not one that ends before its topic begins."""
        start, end = self._starts.get(gap.topic), parse_id(gap.end)
        return start is None or end is None or end.epoch != start.epoch or end.seq > start.seq

    def _confirm(self, position: MessageId) -> None:
        self.confirmed = position
        for topic, start in self._starts.items():
            if start is not None and start.epoch == position.epoch and start.seq <= position.seq:
                self._starts[topic] = None

    # Between nodes

    def dump(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        starts = {topic: start and str(start) for topic, start in self._starts.items()}
        positions = {"confirmed": self.confirmed, "sent": self.sent, "doubtful": self._doubtful}
        return {"topics": starts, "stale": self._stale} | {name: _text(at) for name, at in positions.items()}

    @classmethod
    def load(cls, state: Mapping[str, Any]) -> Self:
        """Return what `dump` has returned."""
        progress = cls()
        progress._starts = {topic: _id(start) for topic, start in state["topics"].items()}
        progress.confirmed, progress.sent = _id(state["confirmed"]), _id(state["sent"])
        progress._stale, progress._doubtful = state.get("stale", 0), _id(state.get("doubtful"))
        return progress


def _is_after(start: MessageId | None, message: Message) -> bool:
    return start is None or message.epoch != start.epoch or message.order > start.seq


def _text(position: MessageId | None) -> str | None:
    return None if position is None else str(position)


def _id(text: str | None) -> MessageId | None:
    return None if text is None else parse_id(text)
