"""Responses to publishes with an ``Idempotency-Key``: a duplicate gets the same response and is not published."""

from collections import deque
from typing import Final, Generic, TypeVar

A = TypeVar("A")

SECONDS: Final = 120.0
"""How long a duplicate gets the first response."""
_MOST: Final = 100_000
"""The maximum number of parts of all cached responses; the oldest responses are evicted first."""


class IdempotencyCache(Generic[A]):
    """The responses of the last `SECONDS`, by key."""

    def __init__(self) -> None:
        self._answers: dict[str, A] = {}
        self._order: deque[tuple[float, str, int]] = deque()
        self._parts = 0

    def get(self, key: str, now: float) -> A | None:
        """Return the response to that key; None if there is none. `now`: monotonic seconds."""
        self._evict(now)
        return self._answers.get(key)

    def put(self, key: str, answer: A, parts: int, now: float) -> None:
        """Cache the response to a key that has none. `parts`: the number of receipts in it."""
        self._parts += parts
        self._answers[key] = answer
        self._order.append((now + SECONDS, key, parts))
        self._evict(now)

    def _evict(self, now: float) -> None:
        while self._order and (self._order[0][0] <= now or self._parts > _MOST):
            _, key, parts = self._order.popleft()
            del self._answers[key]
            self._parts -= parts
