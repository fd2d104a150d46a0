"""How long an address has to wait whose credentials are refused repeatedly."""

from twisted.internet.task import Clock

from pushd.http.repeated_refusals import RepeatedRefusals


def test_time_to_wait_doubles_up_to_a_minute() -> None:
    refusals = RepeatedRefusals(Clock().seconds)
    assert [refusals.count("192.0.2.1") for _ in range(12)] == [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert refusals.count("192.0.2.2") == 0


def test_refusals_are_forgotten_after_two_minutes() -> None:
    clock = Clock()
    refusals = RepeatedRefusals(clock.seconds)
    for _ in range(9):
        refusals.count("192.0.2.1")
    clock.advance(120)
    assert refusals.count("192.0.2.1") == 60
    clock.advance(121)
    assert refusals.count("192.0.2.1") == 0


def test_addresses_are_bounded_and_the_oldest_is_forgotten() -> None:
    refusals = RepeatedRefusals(Clock().seconds)
    for _ in range(9):
        refusals.count("first")
    for number in range(10_000):
        refusals.count(str(number))
    assert len(refusals) == 10_000
    assert refusals.count("first") == 0


def test_count_that_is_very_large_costs_nothing() -> None:
    refusals = RepeatedRefusals(Clock().seconds)
    assert {refusals.count("a") for _ in range(10_000)} == {0, 1, 2, 4, 8, 16, 32, 60}
