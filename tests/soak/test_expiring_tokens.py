"""The soak test of expiring tokens finds lost, repeated and reordered messages; a short run finds none."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.soak import client_tokens, expiring_tokens
from tests.soak.expiring_tokens import Faults, compare


@pytest.mark.parametrize(
    ("shown", "faults"),
    [
        ([0, 1, 2, 3], Faults(0, 0, 0)),
        ([0, 1, 3], Faults(1, 0, 0)),
        ([0, 1, 2], Faults(1, 0, 0)),
        ([0, 1, 1, 2, 3], Faults(0, 1, 0)),
        ([0, 2, 1, 3], Faults(0, 0, 1)),
        ([], Faults(4, 0, 0)),
    ],
)
def test_faults_are_counted(shown: list[int], faults: Faults) -> None:
    assert compare(shown, 4) == faults


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.parametrize("run", [expiring_tokens.run, client_tokens.run], ids=["pages", "client"])
def test_every_message_arrives_once_while_tokens_are_renewed(run: Callable[[float], int]) -> None:
    """Run it in another thread, since browser tests may have left an event loop running in this one."""
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(run, 1.2).result() == 0
