"""The timeline: all kept messages of a log in id order, whatever their channel, searchable by sequence.

Each channel has its own bounds, so messages are removed at any position. They are kept in blocks of a bounded size,
so the time for a change does not grow with the number of messages. A block that is half empty is packed, and merged
with a neighbour if both fit into one.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import islice

from pushd.core.message import Message

_BLOCK_SIZE = 1024
"""Slots of a block."""


class Timeline:
    """An ordered list of messages with the time of each `append`, in monotonic seconds."""

    def __init__(self) -> None:
        self._blocks: list[_MessageBlock] = [_MessageBlock()]
        """Messages are appended to the last; each of the others has at least one message."""
        self._firsts: list[int] = [0]
        """For each block, a sequence up to its first and after the last of the previous block."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, message: Message, now: float) -> None:
        """Append a message that is newer than all others. `now`: monotonic seconds."""
        block = self._blocks[-1]
        if len(block.seqs) >= _BLOCK_SIZE:
            block = _MessageBlock()
            self._blocks.append(block)
            self._firsts.append(message.seq)
            if not self._blocks[-2].kept:
                self._remove(len(self._blocks) - 2)
        block.append(message, now)
        self._count += 1

    def get(self, seq: int) -> Message | None:
        """Return the message with that sequence; None if it is not kept."""
        block = self._blocks[self._find(seq)]
        slot = bisect_left(block.seqs, seq)
        return block.messages[slot] if slot < len(block.seqs) and block.seqs[slot] == seq else None

    def discard(self, seq: int) -> None:
        """Remove the message with that sequence, which must be kept."""
        firsts = self._firsts
        number = 0 if len(firsts) == 1 or seq < firsts[1] else bisect_right(firsts, seq) - 1
        block = self._blocks[number]
        messages, start = block.messages, block.start
        slot = start if block.seqs[start] == seq else bisect_left(block.seqs, seq, start)
        messages[slot] = None
        block.kept -= 1
        self._count -= 1
        if slot == start:
            block.advance_start()
        if block.kept * 2 < len(messages) and number < len(firsts) - 1:
            self._compact(number)

    def after(self, seq: int) -> Iterator[Message]:
        """Iterate over the messages newer than `seq`, oldest first. The timeline must not change meanwhile."""
        first = self._find(seq)
        for number in range(first, len(self._blocks)):
            block = self._blocks[number]
            slot = bisect_right(block.seqs, seq) if number == first else block.start
            for message in islice(block.messages, slot, None):
                if message is not None:
                    yield message

    def backward(self, upto: int) -> Iterator[Message]:
        """Iterate over the messages up to sequence `upto`, newest first. The timeline must not change meanwhile."""
        last = self._find(upto)
        for number in range(last, -1, -1):
            messages = self._blocks[number].messages
            if number == last:
                messages = messages[: bisect_right(self._blocks[number].seqs, upto)]
            for message in reversed(messages):
                if message is not None:
                    yield message

    def before(self, time: float, most: int, after: int = 0) -> list[Message]:
        """Return the messages newer than sequence `after` that were appended before `time` (monotonic seconds).

        They are the oldest, at most `most`.
        """
        return list(islice(self._before(time, after), most))

    def time_after(self, seq: int) -> float | None:
        """Return the time of the oldest message newer than `seq`, in monotonic seconds; None if there is none."""
        first = self._find(seq)
        for number in range(first, len(self._blocks)):
            block = self._blocks[number]
            slot = bisect_right(block.seqs, seq) if number == first else block.start
            while slot < len(block.messages) and block.messages[slot] is None:
                slot += 1
            if slot < len(block.messages):
                return block.times[slot]
        return None

    def _before(self, time: float, after: int) -> Iterator[Message]:
        first = self._find(after)
        for number in range(first, len(self._blocks)):
            block = self._blocks[number]
            start = bisect_right(block.seqs, after) if number == first else 0
            for slot in range(max(start, block.start), len(block.times)):
                if block.times[slot] >= time:
                    return
                if (message := block.messages[slot]) is not None:
                    yield message

    def _find(self, seq: int) -> int:
        """Return the number of the block in which a sequence is, or would be."""
        return max(0, bisect_right(self._firsts, seq) - 1)

    def _compact(self, number: int) -> None:
        """Pack a block that is half empty, and merge it with a neighbour if both fit into one."""
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


class _MessageBlock:
    """A run of consecutive messages. The slots of removed messages stay empty until the block is packed."""

    __slots__ = ("kept", "messages", "seqs", "start", "times")

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.messages: list[Message | None] = []
        self.times: list[float] = []
        """When each was appended, in monotonic seconds."""
        self.kept = 0
        """The number of slots that are not empty."""
        self.start = 0
        """The slot of the oldest message; all before it are empty."""

    def append(self, message: Message, now: float) -> None:
        """Append a message that is newer than all others."""
        self.seqs.append(message.seq)
        self.messages.append(message)
        self.times.append(now)
        self.kept += 1

    def advance_start(self) -> None:
        """Move the start past empty slots."""
        messages, start = self.messages, self.start
        while start < len(messages) and messages[start] is None:
            start += 1
        self.start = start

    def pack(self) -> None:
        """Remove the empty slots."""
        slots = [slot for slot, message in enumerate(self.messages) if message is not None]
        self.seqs = [self.seqs[slot] for slot in slots]
        self.times = [self.times[slot] for slot in slots]
        self.messages = [self.messages[slot] for slot in slots]
        self.start = 0

    def absorb(self, later: "_MessageBlock") -> bool:
        """Append all messages of the next block if half the slots stay free; return whether it did."""
        if len(self.seqs) + len(later.seqs) > _BLOCK_SIZE // 2:
            return False
        self.seqs += later.seqs
        self.messages += later.messages
        self.times += later.times
        self.kept += later.kept
        return True
