"""A table that is drawn again and again on a terminal, by curses."""

import curses
import locale
import signal
import time
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from pushd.client import PushdError
from pushd.ctl.errors import CtlError
from pushd.ctl.terminal import escape_controls
from pushd.ctl.top.sample import Sample, Sampler
from pushd.ctl.top.table import format_table

if TYPE_CHECKING:
    from curses import window as Window

_QUIT = {ord("q"), ord("Q"), 27}
"""The keys that end the command: q, and Escape."""
_HEADER_LINE = 2


def show_live(sampler: Sampler, interval: float) -> int:
    """Show the table until q or Ctrl-C is pressed; return the exit status.

    :param interval: seconds between two samples.
    :raises CtlError: when the terminal is of an unknown kind.
    """
    first = sampler.read()
    locale.setlocale(locale.LC_CTYPE, "")
    signal.signal(signal.SIGTERM, _exit)  # so that the terminal is restored
    try:
        curses.wrapper(_Live(sampler, first, interval).run)
    except KeyboardInterrupt:
        pass
    except curses.error as error:
        raise CtlError(f"the terminal cannot show a table ({error}); use --once") from error
    return 0


class _Live:
    """The loop of reading and drawing."""

    def __init__(self, sampler: Sampler, first: Sample, interval: float) -> None:
        self._sampler = sampler
        self._before = self._after = first
        self._interval = interval
        self._failure = ""

    def run(self, screen: "Window") -> None:
        """Draw until a key ends it."""
        if curses.has_colors():
            curses.use_default_colors()
        curses.curs_set(0)
        due = time.monotonic() + self._interval
        while True:
            self._draw(screen)
            screen.timeout(max(0, round((due - time.monotonic()) * 1000)))
            key = screen.getch()
            if key in _QUIT:
                return
            if time.monotonic() >= due:
                self._read()
                due = time.monotonic() + self._interval

    def _read(self) -> None:
        try:
            self._before, self._after, self._failure = self._after, self._sampler.read(), ""
        except PushdError as error:
            self._failure = escape_controls(str(error))

    def _draw(self, screen: "Window") -> None:
        height, width = screen.getmaxyx()
        lines = format_table(self._before, self._after, width - 1, height)
        if self._failure:
            lines[:1] = [self._failure[: width - 1]]
        screen.erase()
        for number, line in enumerate(lines):
            screen.addstr(number, 0, line, curses.A_REVERSE if number == _HEADER_LINE else curses.A_NORMAL)
        screen.refresh()


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
