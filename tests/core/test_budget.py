"""The budget: shared items count once, and small requests are never refused."""

import pytest

from pushd.core.budget import Budget
from pushd.core.delivery import Delivery
from pushd.core.errors import NoRoom
from tests.build import message

LITTLE = 64 << 10


def test_shared_item_counts_once_until_last_release() -> None:
    budget, shared, other = Budget(), Delivery(message(1)), Delivery(message(2))
    for held in (shared, shared, other):
        budget.hold(held)
    assert budget.used == shared.size + other.size
    budget.release(shared)
    assert budget.used == shared.size + other.size
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
