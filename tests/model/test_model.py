"""`make model` for a minute: random runs over each backend contradict no promise."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest

from tests.model.backends import BACKENDS
from tests.model.record import Limits
from tests.model.report import excerpt
from tests.model.run import Round
from tests.model.trace import Trace
from tests.soak.transports import ReceivedMessage

pytestmark = pytest.mark.system

ROUNDS = [("memory", 1), ("redis", 1)]
SLOW_ROUNDS = [("memory", 2), ("sqlite", 1), ("sqlite", 2), ("redis", 2), ("sentinel", 1)]


def run(round: Round, directory: Path) -> None:
    """Run a round in another thread, since browser tests may have left an event loop running in this one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, round.run(directory)).result()


@pytest.mark.parametrize(
    ("backend", "seed"), [*ROUNDS, *(pytest.param(*each, marks=pytest.mark.slow) for each in SLOW_ROUNDS)]
)
def test_random_run_contradicts_no_promise(tmp_path: Path, backend: str, seed: int) -> None:
    round = Round(backend, seed)
    run(round, tmp_path)
    faults = [sentence for sentence, _ in round.record.faults]
    assert faults == [], "\n".join([*faults, *excerpt(round, *round.record.faults[0])])
    assert round.record.counts["acknowledged"] > 100
    assert round.record.counts["received"] > 100
    assert len(round.subscribers) > 5


def test_every_backend_has_a_round() -> None:
    assert {backend for backend, _ in (*ROUNDS, *SLOW_ROUNDS)} == set(BACKENDS)


def test_message_that_a_client_has_dropped_is_reported(tmp_path: Path) -> None:
    seeds = (Round("memory", seed, seconds=1.0) for seed in count())
    round = next(round for round in seeds if round.setting.limits == Limits())
    run(round, tmp_path)
    assert round.record.faults == []
    traces = [trace for each in round.subscribers for trace in each.traces if len(trace.topics) == 1]
    trace = max(traces, key=_messages)
    place = [place for place, (_, event) in enumerate(trace.events) if isinstance(event, ReceivedMessage)][-1]
    _, dropped = trace.events.pop(place)
    assert isinstance(dropped, ReceivedMessage)
    round.check()
    assert [sentence for sentence, _ in round.record.faults if f"{dropped.id} {dropped.data} was not" in sentence]


def _messages(trace: Trace) -> int:
    return sum(isinstance(event, ReceivedMessage) for _, event in trace.events)
