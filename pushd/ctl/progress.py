"""A bar that tells at a terminal how far long work has come; nothing elsewhere."""

import time
from typing import TextIO

_WIDTH = 30
_SECONDS = 0.1
"""Between two looks, so that the terminal does not cost more than the work."""


class Progress:
    """Writes the bar over itself."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_shown = out.isatty()
        self._due = 0.0
        self._what = ""

    def __call__(self, what: str, done: float, most: float) -> None:
        """Know that `done` of `most` is done."""
        now = time.monotonic()
        if not self._is_shown or (now < self._due and what == self._what and done < most):
            return
        self._due, self._what = now + _SECONDS, what
        share = min(1.0, done / most) if most else 1.0
        bar = "#" * round(_WIDTH * share)
        self._out.write(f"\r\x1b[K{what:>20} [{bar:<{_WIDTH}}] {share:4.0%}")
        self._out.flush()

    def end(self) -> None:
        """Wipe it off."""
        if self._is_shown:
            self._out.write("\r\x1b[K")
            self._out.flush()
