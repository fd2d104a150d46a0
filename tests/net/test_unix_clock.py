"""Tests of unix time that never goes back."""

from pushd.net.unix_clock import UnixClock


def test_time_never_goes_back_and_the_setback_is_known():
    times = [100.0]
    clock = UnixClock(lambda: times[0])
    assert (clock(), clock.setback) == (100.0, 0.0)
    times[0] = 40.0
    assert (clock(), clock.setback) == (100.0, 60.0)
    times[0] = 130.0
    assert (clock(), clock.setback) == (130.0, 0.0)
