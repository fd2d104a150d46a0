"""The budget: shared items count once, and small requests are never refused."""

import pytest
from twisted.internet.task import Clock

from pushd.core.budget import Budget
from pushd.core.delivery import Delivery
from pushd.core.errors import NoRoom, Refusal, TooManySubscriptions
from tests.build import message

LITTLE = 64 << 10


def test_shared_item_counts_once_until_last_release() -> None:
    budget, shared, other = Budget(), Delivery(message(1)), Delivery(message(2))
    for held in (shared, shared, other):
        budget.hold(held)
    assert budget.used == shared.memory + other.memory
    budget.release(shared)
    assert budget.used == shared.memory + other.memory
    budget.release(shared)
    budget.release(other)
    assert budget.used == 0


def test_budget_is_over_above_limit_and_has_room_an_eighth_below() -> None:
    budget = Budget(800)
    budget.grow(0, 800)
    assert not budget.is_over
    budget.grow(0, 1)
    assert budget.is_over
    budget.grow(100, 0)
    assert not budget.has_room
    budget.grow(1, 0)
    assert budget.has_room


def test_recount_ignores_limit() -> None:
    budget = Budget(0)
    assert budget.recount(0, 10 * LITTLE) == budget.used == 10 * LITTLE
    assert budget.recount(10 * LITTLE, 0) == budget.used == 0


def test_large_growth_over_limit_is_refused_and_not_counted() -> None:
    budget = Budget(0)
    held = budget.grow(0, LITTLE)
    with pytest.raises(NoRoom):
        budget.grow(held, LITTLE + 1)
    assert budget.used == LITTLE
    assert budget.grow(held, 0) == budget.used == 0


def test_small_or_no_growth_over_limit_is_accepted() -> None:
    budget = Budget(10 * LITTLE)
    large = budget.grow(0, 20 * LITTLE)
    assert budget.grow(0, LITTLE) == LITTLE
    assert budget.grow(large, large) == large
    assert budget.grow(large, 5 * LITTLE) == 5 * LITTLE


class Input:
    """A holder, which is not asked to release anything."""

    def release_for(self, refusal: Refusal) -> None:
        raise AssertionError


def test_holders_are_stalled_in_the_order_of_their_progress() -> None:
    clock = Clock()
    budget = Budget(clock=clock.seconds)
    first, second, third = Input(), Input(), Input()
    budget.grow(0, 5000, first)
    clock.advance(1)
    budget.grow(0, 1, second)
    clock.advance(1)
    budget.grow(0, 1, third)
    assert budget.stalled_holders(1.5) == [first]
    assert budget.stalled_holders(1) == [first, second]
    budget.grow(5000, 6024, first)
    budget.grow(1, 1024, second)
    clock.advance(1)
    assert budget.stalled_holders(1) == [second, third, first], "1,023 bytes are no progress yet"
    budget.grow(1024, 1025, second)
    assert budget.stalled_holders(1) == [third, first]
    budget.grow(6024, 0, first)
    budget.grow(1, 0, third)
    clock.advance(1)
    assert budget.stalled_holders(0) == [second]


def test_growth_beyond_the_limit_is_reported() -> None:
    calls: list[int] = []
    budget = Budget(10)
    budget.on_exceeded = lambda: calls.append(budget.used)
    budget.grow(0, 10)
    budget.grow(10, 11)
    budget.grow(0, 1)
    budget.grow(1, 0)
    with pytest.raises(NoRoom):
        budget.grow(0, 100_000)
    assert calls == [11, 12, 11]


def test_topics_take_at_most_half_of_the_limit() -> None:
    budget = Budget(100)
    budget.hold_topics(0, 50)
    with pytest.raises(TooManySubscriptions):
        budget.hold_topics(50, 51)
    assert budget.used == 50
    budget.hold_topics(50, 10)
    budget.hold_topics(0, 40)
    assert budget.used == 50
