"""A listener of the soak notices what must not be."""

import pytest

from tests.soak.sequence_check import Ear


@pytest.fixture
def faults() -> list[str]:
    return []


@pytest.fixture
def ear(faults: list[str]) -> Ear:
    """One that has heard the tenth message of a channel and the first of another."""
    ear = Ear("listener", faults.append)
    ear.hear("e-9", "a", 10)
    ear.hear("e-10", "b", 1)
    return ear


def test_what_follows_is_well(ear: Ear, faults: list[str]) -> None:
    ear.hear("e-11", "a", 11)
    ear.hear("e-20", "b", 2)
    assert (faults, ear.cursor, ear.heard) == ([], "e-20", 4)


@pytest.mark.parametrize(
    ("id", "number"), [("e-11", 12), ("e-10", 11), ("e-9", 10), ("e-8", 11)], ids=["loss", "same", "double", "disorder"]
)
def test_what_is_wrong_is_told(ear: Ear, faults: list[str], id: str, number: int) -> None:
    ear.hear(id, "a", number)
    assert len(faults) == 1 and "listener" in faults[0]


def test_a_gap_excuses_one_loss_of_a_channel(ear: Ear, faults: list[str]) -> None:
    ear.gap()
    ear.hear("e-11", "a", 15)
    ear.hear("e-12", "b", 5)
    assert (faults, ear.gaps) == ([], 1)
    ear.hear("e-13", "a", 17)
    assert len(faults) == 1


def test_an_end_that_was_not_heard_is_lacking(ear: Ear) -> None:
    assert ear.lacks({"a": 10, "b": 1, "never heard": 5}) == []
    assert ear.lacks({"a": 10, "b": 2}) == ["b"]
