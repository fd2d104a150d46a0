"""`make storm`, with a small crowd: it leaves all as it was, and what is wrong is seen."""

from collections.abc import Iterator

import pytest

from tests.storm import dead_peers, storms, testbed
from tests.storm.client_swarm import Crowd
from tests.storm.testbed import Stage

pytestmark = pytest.mark.system

_SMALL = 60


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage, all storms on which are over soon."""
    with pytest.MonkeyPatch.context() as patch, Stage(tmp_path_factory.mktemp("storm")) as made:
        patch.setattr(testbed, "_NORMAL_SECONDS", 0.1)
        patch.setattr(testbed, "_SETTLE_SECONDS", 5.0)
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
    monkeypatch.setattr(testbed, "_SETTLE_SECONDS", 0.2)
    small.begin()
    with Crowd(small.ports, 1) as crowd:
        crowd.be_let_in(5)
        with pytest.raises(AssertionError, match="is not"):
            small.assert_as_before()


def test_a_bound_that_is_broken_is_seen(small: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storms, "_WORSE", 0.0)
    with pytest.raises(AssertionError, match="of normal"):
        storms.come_back(small, _SMALL)
