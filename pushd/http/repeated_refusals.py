"""Addresses whose credentials are refused repeatedly: how long each should wait before it tries again."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

_MAX_ADDRESSES: Final = 10_000
_MAX_SECONDS: Final = 60
"""The longest time to wait."""
_MEMORY_SECONDS: Final = 120
"""How long a refusal is remembered after the last one."""
_FREE: Final = 3
"""The refusals without a time to wait: a client may have to ask before it sends its credential."""


class RepeatedRefusals:
    """Counts the refusals of each address, those of the last 10,000 addresses.

    :param clock: returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """The number of refusals, and the time of the last, by address; the longest ago first."""

    def __len__(self) -> int:
        """Return the number of addresses."""
        return len(self._counts)

    def count(self, address: str) -> int:
        """Count a refusal, and return after how many seconds the client should try again; 0 for the first few."""
        now = self._clock()
        count, last = self._counts.pop(address, (0, now))
        count = 1 if now - last > _MEMORY_SECONDS else count + 1
        self._counts[address] = count, now
        if len(self._counts) > _MAX_ADDRESSES:
            self._counts.popitem(last=False)
        return 0 if count <= _FREE else min(1 << min(count - _FREE - 1, 30), _MAX_SECONDS)
