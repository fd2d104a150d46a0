"""Timestamps are rounded to milliseconds."""

import pytest

from pushd.core.timestamp import round_timestamp


@pytest.mark.parametrize(
    ("unix", "rounded"),
    [
        (0.0, 0.0),
        (1.001, 1.001),  # 1000 * 1.001 is less than 1001
        (1763751574.1234, 1763751574.123),
        (1763751574.1236, 1763751574.124),
        (1763751574.9999, 1763751575.0),
    ],
)
def test_a_timestamp_is_rounded_to_the_nearest_millisecond_once(unix: float, rounded: float) -> None:
    assert round_timestamp(unix) == rounded
    assert round_timestamp(rounded) == rounded
