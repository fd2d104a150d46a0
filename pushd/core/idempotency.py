"""Answers to publishes that carried an ``Idempotency-Key``: a repeat is answered and not published again."""

from collections import deque
from typing import Final, Generic, TypeVar

A = TypeVar("A")

SECONDS: Final = 120.0
"""How long a repeat gets the first answer."""
_MOST: Final = 100_000
"""So many answers are remembered; the oldest go first."""


class Answers(Generic[A]):
    """The answers of the last `SECONDS`, by key."""

    def __init__(self) -> None:
        self._answers: dict[str, A] = {}
        self._order: deque[tuple[float, str]] = deque()

    def get(self, key: str, now: float) -> A | None:
        """Give the answer to that key, if there was one. `now`: monotonic seconds."""
        self._forget(now)
        return self._answers.get(key)

    def put(self, key: str, answer: A, now: float) -> None:
        """Remember an answer to a key that has none."""
        self._forget(now)
        self._answers[key] = answer
        self._order.append((now + SECONDS, key))

    def _forget(self, now: float) -> None:
        while self._order and (self._order[0][0] <= now or len(self._order) >= _MOST):
            del self._answers[self._order.popleft()[1]]
