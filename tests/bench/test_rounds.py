"""The order of rounds, and rows that cannot be measured."""

import pytest

from bench import rounds
from bench.cases.interface import Case, Column, Scale
from bench.cpu import CpuPlacement
from bench.programs import CannotRun
from bench.rounds import Rounds
from bench.testbed import Scenario

PLACE = CpuPlacement(frozenset({0}), frozenset({0}))


class FakeTestbed:
    def __init__(self, scenario):
        self.scenario = scenario
        self.deliveries = 10
        self.faults = {}


class Three(Case):
    name, title, about, group, seconds = "three", "Three", "", "three", 10
    columns = (Column("n", "n"),)

    def __init__(self, broken=""):
        self.order = []
        self.prepared = []
        self._broken = broken

    def scenarios(self, scale):
        return [Scenario("pushd", "SSE"), Scenario("nchan", "SSE"), Scenario("c", "loop")]

    def prepare(self, testbed, scale):
        self.prepared.append(testbed.scenario.peer)

    def measure(self, testbed, scale):
        if testbed.scenario.peer == self._broken:
            raise CannotRun("it is broken")
        self.order.append(testbed.scenario.peer)
        return {"n": len(self.order)}


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setattr(rounds, "open_testbed", lambda stack, scenario, *rest: FakeTestbed(scenario))

    def run(case, peers=("pushd", "nchan", "c"), count=2, seconds=60.0):
        output: list[str] = []
        figures = Rounds(peers, Scale(rounds=count), tmp_path, tmp_path, PLACE, seconds, output.append).run([case])
        return figures, output

    return run


def test_rounds_have_all_rows_in_rotated_order(run):
    case = Three()
    figures, _ = run(case)
    assert case.prepared == ["pushd", "nchan", "c"]
    assert case.order == ["pushd", "nchan", "c", "nchan", "c", "pushd"]
    assert [each["n"] for each in figures.rounds["three"]["pushd SSE"]] == [1, 6]


def test_only_chosen_peers_run(run):
    case = Three()
    run(case, peers=("c",), count=1)
    assert case.order == ["c"]


def test_failing_row_is_omitted_and_others_continue(run):
    case = Three(broken="nchan")
    figures, output = run(case)
    assert case.order == ["pushd", "c", "c", "pushd"]
    assert figures.notes == ["nchan SSE is omitted: it is broken"]
    assert figures.notes[0] in output


def test_rounds_are_reduced_to_three_when_time_is_short(run):
    case = Three()
    figures, _ = run(case, count=5, seconds=0.0)
    assert len(case.order) == 9
    assert figures.notes == ["Only 3 rounds of three fit into the available time."]
