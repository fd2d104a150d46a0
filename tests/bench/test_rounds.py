"""The order of rounds, and what happens to a row that can not be measured."""

import pytest

from bench import rounds
from bench.cases.interface import Case, Column, Scale
from bench.cpu import Place
from bench.programs import CannotRun
from bench.rounds import Rounds
from bench.stations import Crew

PLACE = Place(frozenset({0}), frozenset({0}))


class FakeStation:
    def __init__(self, crew):
        self.crew = crew
        self.deliveries = 10
        self.faults = {}


class Three(Case):
    name, title, about, group, seconds = "three", "Three", "", "three", 10
    columns = (Column("n", "n"),)

    def __init__(self, broken=""):
        self.order = []
        self.prepared = []
        self._broken = broken

    def crews(self, scale):
        return [Crew("pushd", "SSE"), Crew("nchan", "SSE"), Crew("c", "loop")]

    def prepare(self, station, scale):
        self.prepared.append(station.crew.peer)

    def measure(self, station, scale):
        if station.crew.peer == self._broken:
            raise CannotRun("it is broken")
        self.order.append(station.crew.peer)
        return {"n": len(self.order)}


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setattr(rounds, "open_station", lambda stack, crew, *rest: FakeStation(crew))

    def run(case, peers=("pushd", "nchan", "c"), count=2, seconds=60.0):
        said: list[str] = []
        figures = Rounds(peers, Scale(rounds=count), tmp_path, tmp_path, PLACE, seconds, said.append).run([case])
        return figures, said

    return run


def test_every_round_has_all_rows_and_begins_with_another_one(run):
    case = Three()
    figures, _ = run(case)
    assert case.prepared == ["pushd", "nchan", "c"]
    assert case.order == ["pushd", "nchan", "c", "nchan", "c", "pushd"]
    assert [each["n"] for each in figures.rounds["three"]["pushd SSE"]] == [1, 6]


def test_peers_that_were_not_chosen_take_no_part(run):
    case = Three()
    run(case, peers=("c",), count=1)
    assert case.order == ["c"]


def test_a_row_that_breaks_is_left_out_and_the_others_go_on(run):
    case = Three(broken="nchan")
    figures, said = run(case)
    assert case.order == ["pushd", "c", "c", "pushd"]
    assert figures.notes == ["nchan SSE is left out: it is broken"]
    assert figures.notes[0] in said


def test_when_time_runs_short_there_are_three_rounds_and_a_note(run):
    case = Three()
    figures, _ = run(case, count=5, seconds=0.0)
    assert len(case.order) == 9
    assert figures.notes == ["There was time for 3 rounds only of three."]
