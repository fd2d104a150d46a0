"""The circuit breaker."""

from pushd.net.circuit_breaker import CircuitBreaker


def opened() -> CircuitBreaker:
    breaker = CircuitBreaker(failures=3, pause=5.0)
    assert [breaker.failed(10.0) for _ in range(3)] == [False, False, True]
    return breaker


def test_some_failures_in_a_row_open_it() -> None:
    breaker = CircuitBreaker(failures=3, pause=5.0)
    for _ in range(3):
        assert [breaker.admit(0.0), breaker.failed(0.0), breaker.admit(0.0), breaker.failed(0.0)] == [True, False] * 2
        breaker.succeeded()
    assert breaker.is_closed


def test_no_request_is_sent_before_the_end_of_the_pause_and_one_afterwards() -> None:
    breaker = opened()
    assert not breaker.is_closed
    assert [breaker.admit(now) for now in (10.0, 14.9)] == [False, False]
    assert [breaker.retry_after(now) for now in (10.0, 10.1, 14.9, 20.0)] == [5, 5, 1, 1]
    assert [breaker.admit(now) for now in (15.0, 15.0, 99.0)] == [True, False, False]


def test_the_probe_decides() -> None:
    breaker = opened()
    assert breaker.admit(15.0)
    assert not breaker.failed(16.0)
    assert [breaker.admit(now) for now in (20.9, 21.0)] == [False, True]
    breaker.succeeded()
    assert breaker.is_closed
    assert [breaker.admit(21.0) for _ in range(3)] == [True] * 3
    assert [breaker.failed(22.0) for _ in range(3)] == [False, False, True]


def test_failures_of_requests_that_were_sent_before_do_not_prolong_the_pause() -> None:
    breaker = opened()
    assert not breaker.failed(14.0)
    assert breaker.admit(15.0)
