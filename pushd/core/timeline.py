"""The timeline: all kept messages of a log in id order, whatever their channel, searchable by sequence.

Messages leave from anywhere, since each channel has bounds of its own. They are kept in blocks of a bounded size, so
that no change takes longer the more messages there are; a block that is half empty is packed, and joined to its
neighbour if both fit into one.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import islice

from pushd.core.message import Message

_BLOCK = 1024
"""The places of a block."""


class Timeline:
    """An ordered list of messages with the time at which each came, by a clock that is never set."""

    def __init__(self) -> None:
        self._blocks: list[_Block] = [_Block()]
        """The last one takes what comes; of all others each has a message."""
        self._firsts: list[int] = [0]
        """For each block a sequence that is not newer than its first, and newer than the last of the block before."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def oldest(self) -> float | None:
        """When the oldest message came; None where there is none."""
        return next((block.born[block.start] for block in self._blocks if block.kept), None)

    def append(self, message: Message, now: float) -> None:
        """Take the newest message. `now`: monotonic seconds."""
        block = self._blocks[-1]
        if len(block.seqs) >= _BLOCK:
            block = _Block()
            self._blocks.append(block)
            self._firsts.append(message.seq)
            if not self._blocks[-2].kept:
                self._remove(len(self._blocks) - 2)
        block.append(message, now)
        self._count += 1

    def get(self, seq: int) -> Message | None:
        """Give the message with that sequence, or None where it is not kept."""
        block = self._blocks[self._find(seq)]
        place = bisect_left(block.seqs, seq)
        return block.messages[place] if place < len(block.seqs) and block.seqs[place] == seq else None

    def discard(self, seq: int) -> None:
        """Let go of the message with that sequence, which must be there."""
        firsts = self._firsts
        number = 0 if len(firsts) == 1 or seq < firsts[1] else bisect_right(firsts, seq) - 1
        block = self._blocks[number]
        messages, start = block.messages, block.start
        place = start if block.seqs[start] == seq else bisect_left(block.seqs, seq, start)
        messages[place] = None
        block.kept -= 1
        self._count -= 1
        if place == start:
            block.skip()
        if block.kept * 2 < len(messages) and number < len(firsts) - 1:
            self._tidy(number)

    def after(self, seq: int) -> Iterator[Message]:
        """Go through the messages newer than `seq`, oldest first. It may not change meanwhile."""
        first = self._find(seq)
        for number in range(first, len(self._blocks)):
            block = self._blocks[number]
            place = bisect_right(block.seqs, seq) if number == first else block.start
            for message in islice(block.messages, place, None):
                if message is not None:
                    yield message

    def backward(self, upto: int) -> Iterator[Message]:
        """Go through the messages that are not newer than `upto`, newest first. It may not change meanwhile."""
        last = self._find(upto)
        for number in range(last, -1, -1):
            messages = self._blocks[number].messages
            if number == last:
                messages = messages[: bisect_right(self._blocks[number].seqs, upto)]
            for message in reversed(messages):
                if message is not None:
                    yield message

    def before(self, born: float, most: int) -> list[Message]:
        """Give the oldest messages that came before `born` (monotonic seconds), at most `most`."""
        return list(islice(self._before(born), most))

    def _before(self, born: float) -> Iterator[Message]:
        for block in self._blocks:
            for place in range(block.start, len(block.born)):
                if block.born[place] >= born:
                    return
                if (message := block.messages[place]) is not None:
                    yield message

    def _find(self, seq: int) -> int:
        """Find the block in which a sequence is, or would be."""
        return max(0, bisect_right(self._firsts, seq) - 1)

    def _tidy(self, number: int) -> None:
        """Pack a block that is half empty, and join it to a neighbour."""
        block = self._blocks[number]
        if not block.kept:
            self._remove(number)
            return
        block.pack()
        if number and self._blocks[number - 1].absorb(block):
            self._remove(number)
        elif number < len(self._blocks) - 2 and block.absorb(self._blocks[number + 1]):
            self._remove(number + 1)

    def _remove(self, number: int) -> None:
        del self._blocks[number], self._firsts[number]


class _Block:
    """Some messages that follow each other. Places of those that left stay empty until it is packed."""

    __slots__ = ("born", "kept", "messages", "seqs", "start")

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.messages: list[Message | None] = []
        self.born: list[float] = []
        self.kept = 0
        self.start = 0
        """The place of the oldest message; all before it are empty."""

    def append(self, message: Message, now: float) -> None:
        """Take a message newer than all others."""
        self.seqs.append(message.seq)
        self.messages.append(message)
        self.born.append(now)
        self.kept += 1

    def skip(self) -> None:
        """Put the start behind the places that are empty."""
        messages, start = self.messages, self.start
        while start < len(messages) and messages[start] is None:
            start += 1
        self.start = start

    def pack(self) -> None:
        """Give back the places of those that left."""
        places = [place for place, message in enumerate(self.messages) if message is not None]
        self.seqs = [self.seqs[place] for place in places]
        self.born = [self.born[place] for place in places]
        self.messages = [self.messages[place] for place in places]
        self.start = 0

    def absorb(self, later: "_Block") -> bool:
        """Take over all of the next block if that leaves half the places free; return whether it did."""
        if len(self.seqs) + len(later.seqs) > _BLOCK // 2:
            return False
        self.seqs += later.seqs
        self.messages += later.messages
        self.born += later.born
        self.kept += later.kept
        return True
