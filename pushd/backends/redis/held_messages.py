"""Pub/sub messages that are held back until older ones have been read from the history."""

from collections import deque
from typing import Final

_MESSAGES: Final = 10_000
_BYTES: Final = 16 << 20
"""The most that is held back; more is dropped, since the history has it too."""


class HeldMessages:
    """A bounded queue of raw messages.

    :ivar has_skipped: whether messages were dropped, so that the history must be read up to here.
    """

    def __init__(self) -> None:
        self.has_skipped = False
        self._held: deque[bytes] = deque()
        self._bytes = 0

    def __bool__(self) -> bool:
        """Return whether anything is held back."""
        return bool(self._held)

    def append(self, raw: bytes) -> None:
        """Hold a message back; drop all if there are too many."""
        if self.has_skipped or len(self._held) >= _MESSAGES or self._bytes + len(raw) > _BYTES:
            self.clear()
            self.has_skipped = True
            return
        self._held.append(raw)
        self._bytes += len(raw)

    def put_back(self, raw: bytes) -> None:
        """Hold back a message that comes before all others."""
        self._held.appendleft(raw)
        self._bytes += len(raw)

    def pop(self) -> bytes:
        """Remove and return the first message."""
        raw = self._held.popleft()
        self._bytes -= len(raw)
        return raw

    def clear(self) -> None:
        """Drop all messages."""
        self._held.clear()
        self._bytes = 0
        self.has_skipped = False
