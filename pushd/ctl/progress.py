"""A progress bar, shown only on a terminal."""

import time
from typing import TextIO

_WIDTH = 30
_UPDATE_SECONDS = 0.1
"""Minimum time between two updates, so that drawing does not slow down the work."""


class Progress:
    """A progress bar on one line of the terminal."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_terminal = out.isatty()
        self._next_update = 0.0
        self._label = ""

    def __call__(self, label: str, done: float, total: float) -> None:
        """Update the bar: `done` of `total` is complete."""
        now = time.monotonic()
        if not self._is_terminal or (now < self._next_update and label == self._label and done < total):
            return
        self._next_update, self._label = now + _UPDATE_SECONDS, label
        fraction = min(1.0, done / total) if total else 1.0
        bar = "#" * round(_WIDTH * fraction)
        self._out.write(f"\r\x1b[K{label:>20} [{bar:<{_WIDTH}}] {fraction:4.0%}")
        self._out.flush()

    def end(self) -> None:
        """Erase the bar."""
        if self._is_terminal:
            self._out.write("\r\x1b[K")
            self._out.flush()
