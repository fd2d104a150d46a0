"""Durations as arguments of commands."""

from argparse import ArgumentTypeError

import pytest

from pushd.ctl.durations import duration, seconds_between


@pytest.mark.parametrize(("text", "seconds"), [("1", 1), ("30s", 30), ("5m", 300), ("2h", 7200), ("7d", 604800)])
def test_times_have_units(text: str, seconds: int) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "-5", "5 m", "1.5h", "5w", "1h30m", "1234567890"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError):
        duration(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("1.5", 1.5), ("500ms", 0.5), ("30s", 30), ("5m", 300), ("1d", 86400)],
)
def test_seconds_may_have_fractions_and_units(text: str, seconds: float) -> None:
    assert seconds_between(0, 86400)(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1", "1e3", "nan", "inf", "5 m", "5w", "1h30m", "25h", "٣"])
def test_other_seconds_are_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="must be"):
        seconds_between(0, 86400)(text)
