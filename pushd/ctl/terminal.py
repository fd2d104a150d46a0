"""What is written to a terminal: harmless text, and warnings."""

import re
import sys

from pushd.ctl.colors import Color, paint

_CONTROLS = re.compile(r"[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Characters by which a text could control a terminal or change the order of what it shows, but not tab and newline."""


def escape_controls(text: str) -> str:
    """Escape characters that could control a terminal, so that what a publisher sent cannot; JSON stays JSON."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def warn(sentence: str) -> None:
    """Write a warning to standard error."""
    name = paint("pushctl:", Color.YELLOW, sys.stderr)
    print(f"{name} {escape_controls(sentence)}", file=sys.stderr, flush=True)
