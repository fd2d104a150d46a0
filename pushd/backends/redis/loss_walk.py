"""The losses of patterns: one walk over the channels with losses, in pages, for all patterns at once.

The first page is part of the reply of a script, and the result of the walk is that of this moment. During the walk
Redis journals further losses: for a channel in the journal, its loss before the walk counts.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from pushd.core.patterns import UnmatchedPatterns

Row = str | int
"""A flat list, four values per channel: a channel, the sequence of the newest message that it lost, its time, and the
reason."""


class RecordedLoss(NamedTuple):
    """The newest message that a channel has lost."""

    seq: int
    at: int
    """Unix milliseconds."""
    why: str


class LossPage(msgspec.Struct, array_like=True):
    """The reply of `lua/losses.lua`."""

    holds: bool
    """Whether the walk can continue; if not, it must restart."""
    changes: int
    before: list[Row]
    """The channels that have lost messages since the walk started, with their losses before."""
    found: list[Row]
    """The next channels, the newest loss first."""
    more: str
    """Where to continue; empty at the end."""


decode_part = msgspec.msgpack.Decoder(LossPage).decode


class LossWalk:
    """The newest loss of each of some patterns."""

    def __init__(self, patterns: Sequence[str], after: int) -> None:
        """
        :param after: losses up to this sequence are ignored.
        """
        self._patterns = patterns
        self._after = after
        self._unmatched: UnmatchedPatterns | None = None
        """Created on demand: most patterns have no losses."""
        self._before: dict[str, RecordedLoss] = {}
        self._newest: dict[str, RecordedLoss] = {}

    @property
    def is_done(self) -> bool:
        """Whether no older loss can matter."""
        return self._unmatched is not None and self._unmatched.is_empty

    def take(self, before: list[Row], found: list[Row]) -> None:
        """Add a page."""
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
