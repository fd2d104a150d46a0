"""The delays between attempts."""

from pushd_client import Backoff


def test_ceiling_doubles_up_to_the_longest_and_begins_anew():
    delays = Backoff(1.0, 30.0, uniform=lambda low, high: high).start()
    assert [delays.delay() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    delays.reset()
    assert delays.delay() == 1


def test_delay_is_random_over_the_whole_range():
    drawn = [Backoff(1.0, 30.0).start().delay() for _ in range(200)]
    assert 0 <= min(drawn) < 0.2
    assert 0.8 < max(drawn) <= 1


def test_what_the_daemon_asks_for_is_added_and_not_shortened():
    delays = Backoff(1.0, 30.0, uniform=lambda low, high: high).start()
    assert delays.delay(at_least=120.0) == 121


def test_suggested_spread_is_the_first_ceiling():
    delays = Backoff(1.0, 30.0, uniform=lambda low, high: high).start()
    assert [delays.delay(spread=3.0), delays.delay(spread=3.0), delays.delay(spread=100)] == [3, 6, 30]
