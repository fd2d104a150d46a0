"""`make storm` with a small swarm: gauges return to the baseline, and faults are reported."""

from collections.abc import Iterator

import pytest

from tests.storm import dead_peers, storms, testbed, tokens
from tests.storm.client_swarm import ClientSwarm
from tests.storm.testbed import StormTestbed

pytestmark = pytest.mark.system

_SMALL = 60


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StormTestbed]:
    """A testbed with short storms."""
    with pytest.MonkeyPatch.context() as patch, StormTestbed(tmp_path_factory.mktemp("storm")) as fast:
        patch.setattr(testbed, "_IDLE_SECONDS", 0.1)
        patch.setattr(storms, "_ROUNDS", 4)
        patch.setattr(storms, "_REPEATS", 1)
        patch.setattr(storms, "_MAX_SLOWDOWN", 1000.0)  # the p99 of so few deliveries is noise
        patch.setattr(dead_peers, "_SUSPENDED", 1)
        yield fast


@pytest.mark.parametrize("storm", [storms.connect_and_leave, storms.reconnect, dead_peers.suspended_readers])
def test_storm_returns_to_baseline(fast: StormTestbed, storm: storms.Storm) -> None:
    fast.record_baseline()
    assert "p99" in storm(fast, _SMALL)
    fast.assert_baseline()


def test_leftover_connection_is_reported(fast: StormTestbed, monkeypatch: pytest.MonkeyPatch) -> None:
    fast.record_baseline()
    monkeypatch.setattr(testbed, "_SETTLE_SECONDS", 0.2)
    with ClientSwarm(fast.ports, 1) as swarm:
        swarm.wait_connected(30)
        with pytest.raises(AssertionError, match="is not"):
            fast.assert_baseline()


def test_exceeded_bound_is_reported(fast: StormTestbed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storms, "_MAX_SLOWDOWN", 0.0)
    with pytest.raises(AssertionError, match="of normal"):
        storms.reconnect(fast, _SMALL)


@pytest.mark.slow
def test_storm_with_tokens_reports_costs(fast: StormTestbed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_ROUNDS", 1)
    monkeypatch.setattr(tokens, "_MAX_FIRST_RATIO", 1000.0)  # the CPU time of so few clients is noise
    monkeypatch.setattr(tokens, "_MAX_AGAIN_RATIO", 1000.0)
    assert "with new tokens" in tokens.return_with_tokens(fast, 500)
