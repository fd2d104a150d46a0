"""The order of things: cases by group, the rounds of all rows interleaved, so that what else goes on hits all alike."""

import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count, groupby
from pathlib import Path

from bench.cases.interface import Case, Scale
from bench.cpu import Place
from bench.figures import Figures
from bench.programs import CannotRun
from bench.stations import Crew, Station, open_station


class Rounds:
    """A run of the benchmark."""

    def __init__(
        self, peers: Collection[str], scale: Scale, program: Path, directory: Path, place: Place, say: Callable[[str], None]
    ) -> None:
        """`program` is the load client; servers and their files are in `directory` while they run."""
        self.figures = Figures()
        self._peers = peers
        self._scale = scale
        self._program = program
        self._directory = directory
        self._place = place
        self._say = say
        self._numbers = count(1)

    def run(self, cases: Sequence[Case]) -> Figures:
        """Run the cases."""
        for group, members in groupby(cases, key=lambda case: case.group):
            together = list(members)
            if group:
                self._run_group(together)
            else:
                for case in together:
                    for crew in self._crews(case):
                        self._run_alone(case, crew)
        return self.figures

    def _crews(self, case: Case) -> list[Crew]:
        return [crew for crew in case.crews(self._scale) if crew.peer in self._peers]

    def _run_group(self, cases: Sequence[Case]) -> None:
        crews = list(dict.fromkeys(crew for case in cases for crew in self._crews(case)))
        with ExitStack() as stack:
            stations: dict[Crew, Station] = {}
            for crew in crews:
                self._say(f"{cases[0].name}: {crew.label} comes")
                if station := self._open(stack, crew, cases):
                    stations[crew] = station
            most = max(case.most_rounds for case in cases)
            for turn in range(min(self._scale.rounds, most)):
                for case in cases:
                    for crew in _rotated(self._crews(case), turn):
                        if crew in stations and turn < case.most_rounds:
                            self._say(f"{case.name}, round {turn + 1} of {self._scale.rounds}: {crew.label}")
                            self._measure(case, stations, crew)
            for crew, station in stations.items():
                self.figures.blame(crew.label, station.faults)

    def _run_alone(self, case: Case, crew: Crew) -> None:
        with ExitStack() as stack:
            self._say(f"{case.name}: {crew.label}")
            station = self._open(stack, crew, [case])
            if station is not None:
                stations = {crew: station}
                for _ in range(min(self._scale.rounds, case.most_rounds)):
                    self._measure(case, stations, crew)
                self.figures.blame(crew.label, station.faults)

    def _open(self, stack: ExitStack, crew: Crew, cases: Sequence[Case]) -> Station | None:
        directory = stack.enter_context(_room(self._directory / str(next(self._numbers))))
        with self._forgive(crew):
            station = open_station(stack, crew, self._program, directory, self._place)
            for case in cases:
                if crew in self._crews(case):
                    case.prepare(station, self._scale)
            return station
        return None

    def _measure(self, case: Case, stations: dict[Crew, Station], crew: Crew) -> None:
        with self._forgive(crew):
            self.figures.add(case.name, crew.label, case.measure(stations[crew], self._scale))
            return
        del stations[crew]

    @contextmanager
    def _forgive(self, crew: Crew) -> Iterator[None]:
        """Go on without a row that can not be measured, and say so."""
        try:
            yield
        except CannotRun as error:
            self.figures.notes.append(f"{crew.label} is left out: {error}")
            self._say(self.figures.notes[-1])


def _rotated(crews: list[Crew], turn: int) -> list[Crew]:
    """Let another one begin each round, so that none always comes after the same."""
    start = turn % len(crews) if crews else 0
    return crews[start:] + crews[:start]


@contextmanager
def _room(directory: Path) -> Iterator[Path]:
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
