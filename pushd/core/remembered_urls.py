"""The signed URLs that were used, in memory: each until its time is over."""

from heapq import heappop, heappush
from typing import Final

MAX_URLS: Final = 100_000
"""The most URLs that a backend remembers: some 20 MiB. Beyond it, those whose time is over first are forgotten."""


class RememberedUrls:
    """Digests of URLs, each with the time until which it is remembered.

    :param most: the most of them.
    """

    def __init__(self, most: int = MAX_URLS) -> None:
        self._most = most
        self._until: dict[bytes, float] = {}
        self._order: list[tuple[float, bytes]] = []
        """A heap."""

    def __len__(self) -> int:
        """Return how many are in memory."""
        return len(self._until)

    def add(self, digest: bytes, until: float, now: float) -> None:
        """Remember a URL.

        :param until: unix seconds, which the digest determines.
        :param now: unix seconds.
        """
        if until > now and digest not in self._until:
            self._until[digest] = until
            heappush(self._order, (until, digest))
        while self._order and (self._order[0][0] <= now or len(self._order) > self._most):
            del self._until[heappop(self._order)[1]]

    def contains(self, digest: bytes, now: float) -> bool:
        """Return whether a URL is remembered."""
        return self._until.get(digest, now) > now

    def clear(self) -> None:
        """Forget all."""
        self._until.clear()
        self._order.clear()
