"""Colors, on terminals only, and not if NO_COLOR is set (https://no-color.org)."""

import os
import sys
from collections.abc import Mapping
from enum import Enum
from typing import Protocol


class Color(Enum):
    """The parameters of the control sequence SGR (ECMA-48, section 8.3.117)."""

    RED = "31"
    GREEN = "32"
    YELLOW = "33"
    CYAN = "36"
    BOLD = "1"
    REVERSE = "7"


class _Output(Protocol):
    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        ...


def paint(text: str, color: Color, out: _Output | None = None, environ: Mapping[str, str] = os.environ) -> str:
    """Return text that appears in a color where it is written to a terminal; without colors it is unchanged.

    :param out: where the text is written; None: standard output.
    """
    return f"\x1b[{color.value}m{text}\x1b[0m" if has_colors(out or sys.stdout, environ) else text


def has_colors(out: _Output, environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether an output shows colors."""
    return out.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
