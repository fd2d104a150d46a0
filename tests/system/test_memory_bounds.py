"""What the budgets count is about what is resident, at the limits: measured in processes of their own."""

import subprocess
import sys

import pytest

from tests.system.memory_scenarios import SCENARIOS

MOST = 1.5
"""The most bytes that are resident for each byte that is counted."""
SLACK = 8 << 20
"""Bytes that may be resident besides: what the first messages import and cache."""


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_is_counted_is_what_is_resident(scenario: str) -> None:
    command = [sys.executable, "-m", "tests.system.memory_scenarios", scenario]
    result = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    counted, resident = map(int, result.stdout.split())
    assert resident <= MOST * counted + SLACK
