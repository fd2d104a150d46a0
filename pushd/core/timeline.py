"""The timeline: all kept messages of a log in id order, whatever their channel, searchable by sequence.

Messages leave from anywhere, since each channel has bounds of its own; their places stay empty until enough of
them are.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from pushd.core.message import Message

_WORTH_PACKING = 1024


class Timeline:
    """An ordered list of messages with the time at which each came, by a clock that is never set."""

    def __init__(self) -> None:
        self._seqs: list[int] = []
        self._messages: list[Message | None] = []
        self._born: list[float] = []
        self._start = 0
        """The place of the oldest message; all before it are empty."""
        self._empty = 0

    def __len__(self) -> int:
        return len(self._seqs) - self._empty

    @property
    def oldest(self) -> float | None:
        """When the oldest message came; None where there is none."""
        return self._born[self._start] if self._start < len(self._born) else None

    def append(self, message: Message, now: float) -> None:
        """Take the newest message. `now`: monotonic seconds."""
        self._seqs.append(message.seq)
        self._messages.append(message)
        self._born.append(now)

    def get(self, seq: int) -> Message | None:
        """Give the message with that sequence, or None where it is not kept."""
        place = bisect_left(self._seqs, seq)
        return self._messages[place] if place < len(self._seqs) and self._seqs[place] == seq else None

    def discard(self, seq: int) -> None:
        """Let go of the message with that sequence, which must be there."""
        messages = self._messages
        start = self._start
        place = start if self._seqs[start] == seq else bisect_left(self._seqs, seq, start)
        messages[place] = None
        self._empty += 1
        if place == start:
            while start < len(messages) and messages[start] is None:
                start += 1
            self._start = start
        if self._empty > _WORTH_PACKING and self._empty * 2 > len(self._seqs):
            self._pack()

    def after(self, seq: int) -> Iterator[Message]:
        """Go through the messages newer than `seq`, oldest first."""
        messages = self._messages
        for place in range(bisect_right(self._seqs, seq), len(messages)):
            if (message := messages[place]) is not None:
                yield message

    def backward(self) -> Iterator[Message]:
        """Go through all messages, newest first."""
        return (message for message in reversed(self._messages) if message is not None)

    def before(self, born: float) -> list[Message]:
        """Give the messages that came before `born` (monotonic seconds)."""
        start = self._start
        if start == len(self._born) or self._born[start] >= born:
            return []
        end = bisect_left(self._born, born, start)
        return [message for message in self._messages[start:end] if message is not None]

    def _pack(self) -> None:
        kept = [place for place, message in enumerate(self._messages) if message is not None]
        self._seqs = [self._seqs[place] for place in kept]
        self._born = [self._born[place] for place in kept]
        self._messages = [self._messages[place] for place in kept]
        self._start = self._empty = 0
