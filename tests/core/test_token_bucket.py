"""Token buckets: a model with exact numbers, the most that a peer may do, and bounded memory."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushd.core.token_bucket import TokenBuckets

SECONDS = 10
STEPS = st.lists(st.tuples(st.integers(0, 20), st.sampled_from("ab"), st.integers(0, 300)), max_size=60)
"""Seconds that pass, then whose tokens are taken, and how many."""


class Model:
    """A bucket that is filled as time passes."""

    def __init__(self, rate: int) -> None:
        self.rate, self.size = rate, Fraction(SECONDS * rate)
        self.tokens, self.now = self.size, 0

    def fill(self, now: int) -> None:
        """Let the time pass."""
        self.tokens = min(self.size, self.tokens + self.rate * (now - self.now))
        self.now = now

    def wait(self, amount: int) -> Fraction:
        """Return the seconds until there are enough tokens, or all that there can be."""
        return max(Fraction(0), (min(Fraction(amount), self.size) - self.tokens) / self.rate)


@given(STEPS, st.integers(1, 50))
def test_tokens_are_those_of_a_model(steps: list[tuple[int, str, int]], rate: int) -> None:
    buckets, models, now = TokenBuckets(SECONDS), {key: Model(rate) for key in "ab"}, 1000
    for passed, key, amount in steps:
        now += passed
        model = models[key]
        model.fill(now)
        wait = model.wait(amount)
        assert buckets.wait(key, amount, rate, now) == pytest.approx(float(wait))
        assert buckets.take(key, amount, rate, now) == pytest.approx(float(wait))
        if not wait:
            model.tokens -= amount
        assert buckets.remaining(key, rate, now) == max(0, model.tokens // 1)
        assert buckets.full_in(key, now) == pytest.approx(float((model.size - model.tokens) / rate))


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 10)), max_size=60), st.integers(1, 5))
def test_nobody_takes_more_than_a_burst_and_the_rate_since(steps: list[tuple[float, int]], rate: int) -> None:
    buckets, now, taken = TokenBuckets(SECONDS), 50.0, 0
    for passed, amount in steps:
        now += passed
        if not buckets.take("a", amount, rate, now):
            taken += amount
        assert taken <= SECONDS * rate + rate * (now - 50) + 0.001


def test_what_was_given_back_can_be_taken() -> None:
    buckets = TokenBuckets(SECONDS)
    assert buckets.take("a", 10, 1, 0) == 0
    assert buckets.take("a", 1, 1, 0) == 1
    buckets.refund("a", 1, 1)
    assert buckets.take("a", 1, 1, 0) == 0
    buckets.refund("b", 1, 1)
    assert buckets.remaining("b", 1, 0) == 10


def test_change_of_the_rate_applies_at_once() -> None:
    buckets = TokenBuckets(SECONDS)
    buckets.take("a", 10, 1, 0)
    assert buckets.take("a", 1, 1, 0)
    assert buckets.take("a", 10, 10, 1) == 0


def test_full_buckets_are_forgotten() -> None:
    buckets = TokenBuckets(SECONDS)
    buckets.take("slow", 100, 1, 0)
    for number in range(50):
        buckets.take(number, 1, 1, 0)
    assert len(buckets) == 51
    for number in range(100, 130):
        buckets.take(number, 1, 1, 5)
    assert len(buckets) == 31
    assert buckets.wait("slow", 1, 1, 5) == 86


def test_memory_is_bounded() -> None:
    buckets = TokenBuckets(SECONDS, max_buckets=10)
    for number in range(100):
        buckets.take(number, 10, 1, 0)
        assert len(buckets) <= 10
    assert buckets.take(99, 1, 1, 0)
