"""Colors appear on terminals only, and not with NO_COLOR."""

from io import StringIO

import pytest

from pushd.ctl.colors import Color, paint


class Terminal(StringIO):
    """A file that claims to be a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


@pytest.mark.parametrize(
    ("out", "environ", "is_colored"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (StringIO(), {}, False),
    ],
)
def test_colors(out: StringIO, environ: dict[str, str], is_colored: bool) -> None:
    assert paint("text", Color.RED, out, environ) == ("\x1b[31mtext\x1b[0m" if is_colored else "text")
