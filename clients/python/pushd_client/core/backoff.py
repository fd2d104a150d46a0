"""When to try again: exponential backoff with full jitter, and what the daemon asks for."""

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """The delays between attempts: random, up to a ceiling that doubles with each attempt.

    Random over the whole range ("full jitter"), so that clients that lost their connections at the same time do not
    return at the same time. What the daemon asks for is added.
    """

    first: float = 1.0
    """The first ceiling in seconds."""
    longest: float = 30.0
    """The largest ceiling in seconds."""
    uniform: Callable[[float, float], float] = random.uniform
    """Returns a random number between two others."""

    def start(self) -> "Delays":
        """Return the delays of one series of attempts."""
        return Delays(self)


class Delays:
    """The delays of one series of attempts."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._failures = 0

    def reset(self) -> None:
        """Begin anew, after a success."""
        self._failures = 0

    def delay(self, at_least: float | None = None, spread: float = 0.0) -> float:
        """Return the seconds until the next attempt, and double the ceiling.

        :param at_least: what the daemon asks for, such as ``Retry-After``; the random delay is added to it.
        :param spread: a larger first ceiling, as the daemon suggests it.
        """
        backoff = self._backoff
        ceiling = min(backoff.longest, max(backoff.first, spread) * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return (at_least or 0.0) + backoff.uniform(0.0, ceiling)
