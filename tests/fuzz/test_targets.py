"""Each target of the fuzzer takes bytes for examples."""

import random

import pytest

from tests.fuzz.targets import TARGETS, property_of

PROPERTIES = {name: property_of(name) for name in TARGETS}
"""Made before any test runs: pytest-twisted then changes those of hypothesis."""
INPUTS = [random.Random(seed).randbytes(2048) for seed in range(5)]


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_makes_examples_of_bytes_and_holds(name: str) -> None:
    assert [data for data in INPUTS if PROPERTIES[name](data)]
