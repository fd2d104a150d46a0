"""Catch-up: live messages are held or left to the replay, and each gap is reported once."""

import pytest

from pushd.core.budget import Budget
from pushd.core.catch_up import CatchUp
from pushd.core.delivery import Delivery
from pushd.core.outbox import QueueLimits
from tests.build import at, message


def held_ids(catch_up: CatchUp) -> list[str]:
    return [f"{each.message.channel}:{each.message.seq}" for each in catch_up.held]


def catch_up_on(*topics: str, limits: QueueLimits | None = None, seqs: range = range(0)) -> CatchUp:
    """Return a catch-up that was given live messages of channel ``a``."""
    catch_up = CatchUp(topics or ("a",), limits or QueueLimits())
    for seq in seqs:
        catch_up.hold(Delivery(message(seq)))
    return catch_up


TWO = [QueueLimits(messages=2), QueueLimits(bytes=2 * message().size)]


@pytest.mark.parametrize("limits", TWO)
def test_live_messages_within_limits_are_held(limits: QueueLimits) -> None:
    catch_up = catch_up_on(limits=limits, seqs=range(3, 5))
    assert catch_up.has_reached(at(2))
    assert held_ids(catch_up) == ["a:3", "a:4"]


@pytest.mark.parametrize("limits", TWO)
def test_held_messages_over_limits_are_discarded_until_replay_reaches_them(limits: QueueLimits) -> None:
    catch_up = catch_up_on(limits=limits, seqs=range(3, 7))
    assert held_ids(catch_up) == []
    assert not catch_up.has_reached(at(2))
    catch_up.hold(Delivery(message(7)))
    assert catch_up.has_reached(at(6))
    assert held_ids(catch_up) == ["a:7"]


def test_replay_that_has_read_discarded_messages_is_complete() -> None:
    assert catch_up_on(limits=TWO[0], seqs=range(3, 6)).has_reached(at(5))


def test_single_large_message_is_held() -> None:
    catch_up = CatchUp(["a"], QueueLimits(bytes=10))
    catch_up.hold(Delivery(message(1, data=b"x" * 100)))
    assert catch_up.has_reached(at(0))
    assert held_ids(catch_up) == ["a:1"]


def test_held_messages_that_replay_has_read_are_discarded() -> None:
    catch_up = catch_up_on(seqs=range(3, 7))
    assert catch_up.has_reached(at(4))
    assert held_ids(catch_up) == ["a:5", "a:6"]


def test_unsubscribed_topic_is_removed_with_its_held_messages() -> None:
    catch_up = catch_up_on("a", "b/*", seqs=range(3, 5))
    catch_up.hold(Delivery(message(5, "b/1")))
    catch_up.unsubscribe("a")
    assert list(catch_up.topics) == ["b/*"]
    assert held_ids(catch_up) == ["b/1:5"]
    assert not catch_up.covers("a")
    catch_up.unsubscribe("b/*")
    assert len(catch_up.topics) == 0
    assert held_ids(catch_up) == []


def test_held_messages_of_another_topic_survive_unsubscribe() -> None:
    catch_up = catch_up_on("a", "*", seqs=range(3, 5))
    catch_up.unsubscribe("a")
    assert held_ids(catch_up) == ["a:3", "a:4"]


def test_invalidate_discards_held_messages_and_requires_one_more_page() -> None:
    catch_up = catch_up_on(seqs=range(3, 6))
    catch_up.invalidate()
    assert held_ids(catch_up) == []
    catch_up.hold(Delivery(message(7)))
    assert not catch_up.has_reached(at(6))
    assert catch_up.has_reached(at(6))
    assert held_ids(catch_up) == ["a:7"]


def test_held_messages_of_another_epoch_are_discarded() -> None:
    catch_up = catch_up_on(seqs=range(3, 5))
    assert catch_up.has_reached(at(0)._replace(epoch="F"))
    assert held_ids(catch_up) == []


def test_held_messages_count_in_budget_until_taken_or_discarded() -> None:
    limits = QueueLimits(messages=3)
    catch_up = catch_up_on(limits=limits, seqs=range(3, 6))
    assert limits.budget.used == 3 * message().size
    assert catch_up.has_reached(at(3))
    assert limits.budget.used == 2 * message().size
    assert [each.message.seq for each in catch_up.take_held()] == [4, 5]
    assert limits.budget.used == 0
    catch_up_on(limits=limits, seqs=range(3, 7))
    assert limits.budget.used == 0


def test_messages_are_not_held_while_budget_is_exceeded() -> None:
    limits = QueueLimits(budget=Budget(message().size))
    catch_up = catch_up_on(limits=limits, seqs=range(3, 6))
    assert held_ids(catch_up) == []
    assert not catch_up.has_reached(at(2))
    assert limits.budget.used == 0
