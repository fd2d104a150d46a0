"""The check of the soak test finds lost, repeated and reordered messages."""

import pytest

from tests.soak.sequence_check import SequenceCheck


@pytest.fixture
def faults() -> list[str]:
    return []


@pytest.fixture
def check(faults: list[str]) -> SequenceCheck:
    """A check that has received the tenth message of one channel and the first of another."""
    check = SequenceCheck("subscriber", faults.append)
    check.on_message("e-9", "a", 10)
    check.on_message("e-10", "b", 1)
    return check


def test_consecutive_messages_have_no_fault(check: SequenceCheck, faults: list[str]) -> None:
    check.on_message("e-11", "a", 11)
    check.on_message("e-20", "b", 2)
    assert (faults, check.cursor, check.received) == ([], "e-20", 4)


@pytest.mark.parametrize(
    ("id", "number"), [("e-11", 12), ("e-10", 11), ("e-9", 10), ("e-8", 11)], ids=["loss", "same", "double", "disorder"]
)
def test_wrong_sequence_is_reported(check: SequenceCheck, faults: list[str], id: str, number: int) -> None:
    check.on_message(id, "a", number)
    assert len(faults) == 1 and "subscriber" in faults[0]


def test_gap_excuses_one_loss_per_channel(check: SequenceCheck, faults: list[str]) -> None:
    check.on_gap()
    check.on_message("e-11", "a", 15)
    check.on_message("e-12", "b", 5)
    assert (faults, check.gaps) == ([], 1)
    check.on_message("e-13", "a", 17)
    assert len(faults) == 1


def test_channel_without_its_last_message_is_missing(check: SequenceCheck) -> None:
    assert check.missing({"a": 10, "b": 1, "never received": 5}) == []
    assert check.missing({"a": 10, "b": 2}) == ["b"]
