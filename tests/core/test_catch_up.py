"""Catching up: what arrives meanwhile waits or is left to the history, and a gap is news once."""

import pytest

from pushd.core.budget import Budget
from pushd.core.catch_up import CatchUp
from pushd.core.delivery import Delivery
from pushd.core.message import Gap
from pushd.core.outbox import QueueLimits
from tests.build import at, message


def held(catch_up: CatchUp) -> list[str]:
    return [f"{each.message.channel}:{each.message.seq}" for each in catch_up.held]


def catching(*topics: str, limits: QueueLimits | None = None, seqs: range = range(0)) -> CatchUp:
    """Catch up on topics while messages of channel ``a`` arrive."""
    catch_up = CatchUp(topics or ("a",), limits or QueueLimits())
    for seq in seqs:
        catch_up.hold(Delivery(message(seq)))
    return catch_up


TWO = [QueueLimits(messages=2), QueueLimits(bytes=2 * message().size)]


@pytest.mark.parametrize("limits", TWO)
def test_what_fits_waits(limits: QueueLimits) -> None:
    catch_up = catching(limits=limits, seqs=range(3, 5))
    assert catch_up.has_reached(at(2))
    assert held(catch_up) == ["a:3", "a:4"]


@pytest.mark.parametrize("limits", TWO)
def test_what_does_not_fit_is_forgotten_until_the_replay_has_reached_it(limits: QueueLimits) -> None:
    catch_up = catching(limits=limits, seqs=range(3, 7))
    assert held(catch_up) == []
    assert not catch_up.has_reached(at(2))
    catch_up.hold(Delivery(message(7)))
    assert catch_up.has_reached(at(6))
    assert held(catch_up) == ["a:7"]


def test_a_replay_that_has_read_what_was_forgotten_needs_no_other_page() -> None:
    assert catching(limits=TWO[0], seqs=range(3, 6)).has_reached(at(5))


def test_a_large_message_may_wait_alone() -> None:
    catch_up = CatchUp(["a"], QueueLimits(bytes=10))
    catch_up.hold(Delivery(message(1, data=b"x" * 100)))
    assert catch_up.has_reached(at(0))
    assert held(catch_up) == ["a:1"]


def test_what_the_replay_has_read_does_not_wait_any_more() -> None:
    catch_up = catching(seqs=range(3, 7))
    assert catch_up.has_reached(at(4))
    assert held(catch_up) == ["a:5", "a:6"]


def test_a_gap_is_news_once_and_what_is_known_is_none() -> None:
    first, second = Gap("a", "E-1", "E-3", "evicted"), Gap("b", "E-1", "E-3", "evicted")
    catch_up = catching("a", "b")
    assert catch_up.unreported([first, second]) == [first, second]
    assert catch_up.unreported([first]) == []
    known = Gap("a", "E-0", "E-5", "evicted")
    catch_up.mark_reported([known])
    assert catch_up.unreported([known]) == []


def test_the_same_loss_told_otherwise_is_no_news_and_a_later_loss_is() -> None:
    catch_up = catching()
    catch_up.mark_reported([Gap("a", "F-1", "E-3", "epoch")])
    later = Gap("a", "E-0", "E-4", "expired")
    assert catch_up.unreported([Gap("a", "E-0", "E-3", "evicted"), later]) == [later]


def test_one_who_parts_reads_on_without_that_topic() -> None:
    catch_up = catching("a", "b/*", seqs=range(3, 5))
    catch_up.hold(Delivery(message(5, "b/1")))
    catch_up.unsubscribe("a")
    assert list(catch_up.topics) == ["b/*"]
    assert held(catch_up) == ["b/1:5"]
    assert not catch_up.covers("a")
    catch_up.unsubscribe("b/*")
    assert len(catch_up.topics) == 0
    assert held(catch_up) == []


def test_what_another_topic_covers_still_waits_for_one_who_parts() -> None:
    catch_up = catching("a", "*", seqs=range(3, 5))
    catch_up.unsubscribe("a")
    assert held(catch_up) == ["a:3", "a:4"]


def test_one_that_doubts_asks_once_more_and_forgets_what_it_held() -> None:
    catch_up = catching(seqs=range(3, 6))
    catch_up.invalidate()
    assert held(catch_up) == []
    catch_up.hold(Delivery(message(7)))
    assert not catch_up.has_reached(at(6))
    assert catch_up.has_reached(at(6))
    assert held(catch_up) == ["a:7"]


def test_what_is_held_of_another_epoch_is_not_behind_the_replay() -> None:
    catch_up = catching(seqs=range(3, 5))
    assert catch_up.has_reached(at(0)._replace(epoch="F"))
    assert held(catch_up) == []


def test_what_waits_counts_in_all_until_it_is_taken_or_forgotten() -> None:
    limits = QueueLimits(messages=3)
    catch_up = catching(limits=limits, seqs=range(3, 6))
    assert limits.budget.used == 3 * message().size
    assert catch_up.has_reached(at(3))
    assert limits.budget.used == 2 * message().size
    assert [each.message.seq for each in catch_up.take_held()] == [4, 5]
    assert limits.budget.used == 0
    catching(limits=limits, seqs=range(3, 7))
    assert limits.budget.used == 0


def test_where_too_much_waits_in_all_it_is_left_to_the_history() -> None:
    limits = QueueLimits(budget=Budget(message().size))
    catch_up = catching(limits=limits, seqs=range(3, 6))
    assert held(catch_up) == []
    assert not catch_up.has_reached(at(2))
    assert limits.budget.used == 0
