"""What the command lines of the benchmark share: names, numbers, progress and the limit of open files."""

import argparse
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from types import FrameType

from bench.cases.interface import Scale

_SPARE_FILES = 200


class Progress:
    """Prints progress and elapsed time to standard error."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def __call__(self, what: str) -> None:
        print(f"bench: {time.monotonic() - self._start:5.0f} s  {what}", file=sys.stderr, flush=True)


class Names:
    """Parses names separated by commas."""

    def __init__(self, known: Sequence[str], what: str) -> None:
        self._known = known
        self._what = what

    def __call__(self, text: str) -> list[str]:
        names = [name.strip() for name in text.split(",") if name.strip()]
        wrong = [name for name in names if name not in self._known]
        if wrong or not names:
            raise argparse.ArgumentTypeError(
                f"{', '.join(wrong) or 'nothing'} is no {self._what}; there are {', '.join(self._known)}"
            )
        return [name for name in self._known if name in names]


def positive(text: str) -> int:
    """Parse a whole number from 1 to 100,000.

    :raises ArgumentTypeError: when it is none.
    """
    number = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= number <= 100_000:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 to 100000")
    return number


def within_files(scale: Scale, notes: list[str]) -> Scale:
    """Raise the limit of open files to the maximum; return the scale, reduced to what it allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # pushd reserves a tenth of the limit for other files.
    limit = max(1, int(0.9 * hard) - _SPARE_FILES)
    if max(scale.subscribers, scale.many_subscribers) > limit:
        notes.append(f"A process may open {hard} files here, so there are at most {limit} subscribers.")
    return replace(
        scale, subscribers=min(scale.subscribers, limit), many_subscribers=min(scale.many_subscribers, limit)
    )


def stop_on_signal(number: int, frame: FrameType | None) -> None:
    """Stop as on Ctrl-C, so that all child processes are ended."""
    raise KeyboardInterrupt
