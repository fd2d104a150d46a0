"""Each fuzz target derives examples from bytes."""

import random

import pytest

from tests.fuzz.targets import TARGETS, fuzz_function

PROPERTIES = {name: fuzz_function(name) for name in TARGETS}
"""Created before any test runs, since pytest-twisted modifies Hypothesis tests then."""
INPUTS = [random.Random(seed).randbytes(2048) for seed in range(5)]


@pytest.mark.parametrize("name", TARGETS)
def test_target_derives_examples_from_bytes_and_passes(name: str) -> None:
    assert [data for data in INPUTS if PROPERTIES[name](data)]
