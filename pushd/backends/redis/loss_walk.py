"""What patterns have lost: the channels that lost messages are walked once, in parts, for all patterns together.

The first part comes with the answer of a script, and the whole walk tells what was true at that moment. While it lasts
Redis journals the losses that follow: of a channel that appears in the journal what counts is what it had lost before.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from pushd.core.patterns import UnmatchedPatterns

Row = str | int
"""Four in a row: a channel, the sequence of the newest message that it lost, its time, and the reason."""


class RecordedLoss(NamedTuple):
    """The newest message that was let go."""

    seq: int
    at: int
    """Unix milliseconds."""
    why: str


class LossPage(msgspec.Struct, array_like=True):
    """What one call of `lua/losses.lua` gives."""

    holds: bool
    """Whether the walk can go on; if not, it has to begin again."""
    changes: int
    before: list[Row]
    """The channels that have lost messages since the walk began, with what they had lost before."""
    found: list[Row]
    """The next channels, the newest loss first."""
    more: str
    """Where to go on; empty at the end."""


decode_part = msgspec.msgpack.Decoder(LossPage).decode


class LossWalk:
    """The newest loss of each of some patterns."""

    def __init__(self, patterns: Sequence[str], after: int) -> None:
        """
        :param after: losses up to this sequence do not count.
        """
        self._patterns = patterns
        self._after = after
        self._unmatched: UnmatchedPatterns | None = None
        """Made when it is needed: most have lost nothing."""
        self._before: dict[str, RecordedLoss] = {}
        self._newest: dict[str, RecordedLoss] = {}

    @property
    def is_done(self) -> bool:
        """Whether no older loss can matter."""
        return self._unmatched is not None and self._unmatched.is_empty

    def take(self, before: list[Row], found: list[Row]) -> None:
        """Take one part; see `Part`."""
        for channel, loss in _losses(before):
            self._before.setdefault(channel, loss)
        if found and self._unmatched is None:
            self._unmatched = UnmatchedPatterns(self._patterns)
        for channel, loss in _losses(found):
            if self._unmatched is not None and channel not in self._before:
                self._newest.update(dict.fromkeys(self._unmatched.take(channel), loss))

    def finish(self) -> dict[str, RecordedLoss]:
        """Return the newest loss of each pattern that has lost anything."""
        changed = [(loss, channel) for channel, loss in self._before.items() if loss.seq > self._after]
        if changed:
            unmatched = UnmatchedPatterns(self._patterns)
            for loss, channel in sorted(changed, reverse=True):
                for pattern in unmatched.take(channel):
                    self._newest[pattern] = max(loss, self._newest.get(pattern, loss))
        return self._newest


def _losses(rows: list[Any]) -> Iterator[tuple[str, RecordedLoss]]:
    fields: Iterable[tuple[str, int, int, str]] = zip(rows[::4], rows[1::4], rows[2::4], rows[3::4], strict=True)
    return ((channel, RecordedLoss(seq, at, why)) for channel, seq, at, why in fields)
