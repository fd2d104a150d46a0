"""Counts function calls: a measure of work that is the same on every machine and in every run."""

import sys
from types import FrameType, TracebackType


class Calls:
    """Counts the calls of Python and C functions by this thread while the context is open."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> "Calls":
        sys.setprofile(self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, arg: object) -> None:
        if event in ("call", "c_call"):
            self.count += 1
