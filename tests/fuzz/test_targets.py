"""Each target of the fuzzer takes bytes for examples."""

import random

import pytest

from tests.fuzz.targets import TARGETS, property_of

INPUTS = [random.Random(seed).randbytes(2048) for seed in range(5)]


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_makes_examples_of_bytes_and_holds(name: str) -> None:
    assert [data for data in INPUTS if property_of(name)(data)]
