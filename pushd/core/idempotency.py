"""Answers to publishes that carried an ``Idempotency-Key``: a repeat is answered and not published again."""

from collections import deque
from typing import Final, Generic, TypeVar

A = TypeVar("A")

SECONDS: Final = 120.0
"""How long a repeat gets the first answer."""
_MOST: Final = 100_000
"""Answers are remembered until they have so many parts together; the oldest go first."""


class IdempotencyCache(Generic[A]):
    """The answers of the last `SECONDS`, by key."""

    def __init__(self) -> None:
        self._answers: dict[str, A] = {}
        self._order: deque[tuple[float, str, int]] = deque()
        self._parts = 0

    def get(self, key: str, now: float) -> A | None:
        """Give the answer to that key, if there was one. `now`: monotonic seconds."""
        self._evict(now)
        return self._answers.get(key)

    def put(self, key: str, answer: A, parts: int, now: float) -> None:
        """Remember an answer to a key that has none. `parts`: how many receipts it holds."""
        self._parts += parts
        self._answers[key] = answer
        self._order.append((now + SECONDS, key, parts))
        self._evict(now)

    def _evict(self, now: float) -> None:
        while self._order and (self._order[0][0] <= now or self._parts > _MOST):
            _, key, parts = self._order.popleft()
            del self._answers[key]
            self._parts -= parts
