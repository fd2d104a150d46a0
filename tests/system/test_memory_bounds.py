"""What the budgets count is about what is resident, at the limits: measured in processes of their own."""

import subprocess
import sys

import pytest

from tests.system.memory_scenarios import MIB, SCENARIOS
from tests.system.node_memory_scenarios import SCENARIOS as NODE_SCENARIOS

pytestmark = pytest.mark.slow

MOST = 1.5
"""The most bytes that are resident for each byte that is counted."""
SLACK = 8 * MIB
"""Bytes that may be resident besides: what the first messages import and cache."""
CACHES = {"sqlite": 34 * MIB, "redis": 0}
"""The caches of a node, which have fixed limits: with SQLite the newest messages and pages of the file."""


def figures(module: str, *scenario: str) -> tuple[int, int]:
    """Return the bytes that are counted, and those that are resident."""
    command = [sys.executable, "-m", module, *scenario]
    result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    counted, resident = map(int, result.stdout.split())
    return counted, resident


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_is_counted_is_what_is_resident(scenario: str) -> None:
    counted, resident = figures("tests.system.memory_scenarios", scenario)
    assert resident <= MOST * counted + SLACK


@pytest.mark.parametrize(
    ("backend", "scenario"), [(name, each) for name, them in NODE_SCENARIOS.items() for each in them]
)
def test_what_a_node_counts_is_what_is_resident(backend: str, scenario: str) -> None:
    counted, resident = figures("tests.system.node_memory_scenarios", backend, scenario)
    assert resident <= MOST * counted + CACHES[backend] + SLACK
