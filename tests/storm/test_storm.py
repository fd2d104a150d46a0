"""`make storm`, with a small crowd: it leaves all as it was, and what is wrong is seen."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.storm import dead_peers, stage, storms
from tests.storm.crowd import Crowd
from tests.storm.stage import Stage

pytestmark = pytest.mark.system

_SMALL = 60
_LARGE = 1000


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage, all storms on which are over soon."""
    with pytest.MonkeyPatch.context() as patch, Stage(tmp_path_factory.mktemp("storm")) as made:
        patch.setattr(stage, "_NORMAL_SECONDS", 0.1)
        patch.setattr(stage, "_SETTLE_SECONDS", 5.0)
        patch.setattr(storms, "_ROUNDS", 4)
        patch.setattr(storms, "_TIMES", 1)
        patch.setattr(storms, "_WORSE", 1000.0)  # of so few deliveries a hundredth says nothing
        patch.setattr(dead_peers, "_STOPPED", 1)
        yield made


@pytest.mark.parametrize("storm", [storms.come_and_go, storms.come_back, dead_peers.stopped])
def test_it_leaves_all_as_it_was(small: Stage, storm: storms.Storm) -> None:
    small.begin()
    assert "p99" in storm(small, _SMALL)
    small.assert_as_before()


def test_one_who_is_left_is_seen(small: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_SETTLE_SECONDS", 0.2)
    small.begin()
    with Crowd(small.ports, 1) as crowd:
        crowd.be_let_in(5)
        with pytest.raises(AssertionError, match="is not"):
            small.assert_as_before()


def test_a_bound_that_is_broken_is_seen(small: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storms, "_WORSE", 0.0)
    with pytest.raises(AssertionError, match="of normal"):
        storms.come_back(small, _SMALL)


@pytest.mark.slow
def test_no_bound_is_broken_by_a_larger_crowd() -> None:
    """In a process of its own, which gives way to the daemon."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.storm", str(_LARGE)], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
