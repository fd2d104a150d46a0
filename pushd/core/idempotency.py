"""Deduplication of publishes with an ``Idempotency-Key``.

A duplicate gets the same response as the first publish with its key, and is not published.
"""

from collections import deque
from typing import Final, Generic, NamedTuple, TypeVar

R = TypeVar("R")

SECONDS: Final = 120.0
"""How long a response is cached."""
MISMATCH: Final = "Idempotency-Key was used before with another body: a repeat must have the same body"
_MAX_SIZE: Final = 100_000
"""The maximum size of all cached responses; the oldest are evicted first."""


class IdempotencyKey(NamedTuple):
    """The key of a publish, and what tells a repeat from another publish with the same key."""

    text: str
    digest: bytes
    """A digest of the body, of the same length for all keys."""


class IdempotencyCache(Generic[R]):
    """The responses of the last `SECONDS` seconds, by key."""

    def __init__(self) -> None:
        self._responses: dict[str, R] = {}
        self._order: deque[tuple[float, str, int]] = deque()
        self._size = 0

    def get(self, key: str, now: float) -> R | None:
        """Return the response to that key; None if there is none. `now`: monotonic seconds."""
        self._evict(now)
        return self._responses.get(key)

    def put(self, key: str, response: R, size: int, now: float) -> None:
        """Cache the response to a key that has none.

        :param size: the size of the response in the units of the maximum, such as one per receipt.
        :param now: monotonic seconds.
        """
        self._size += size
        self._responses[key] = response
        self._order.append((now + SECONDS, key, size))
        self._evict(now)

    def _evict(self, now: float) -> None:
        while self._order and (self._order[0][0] <= now or self._size > _MAX_SIZE):
            _, key, size = self._order.popleft()
            del self._responses[key]
            self._size -= size
