"""Durations as arguments of commands."""

from argparse import ArgumentTypeError

import pytest

from pushd.ctl.durations import duration


@pytest.mark.parametrize(("text", "seconds"), [("1", 1), ("30s", 30), ("5m", 300), ("2h", 7200), ("7d", 604800)])
def test_times_have_units(text: str, seconds: int) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "-5", "5 m", "1.5h", "5w", "1h30m", "1234567890"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError):
        duration(text)
