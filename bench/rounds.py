"""The order of things: cases by group, the rounds of all rows interleaved, so that what else goes on hits all alike."""

import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count, groupby
from pathlib import Path

from bench.cases.interface import Case, Scale
from bench.cpu import Place
from bench.figures import Figures
from bench.programs import CannotRun
from bench.testbed import Crew, Station, open_station

_FEWEST = 3
"""Rounds that are made in any case: a median of fewer says little."""


class Rounds:
    """A run of the benchmark."""

    def __init__(
        self,
        peers: Collection[str],
        scale: Scale,
        program: Path,
        directory: Path,
        place: Place,
        seconds: float,
        say: Callable[[str], None],
    ) -> None:
        """`program` is the load client; servers and their files are in `directory` while they run.

        When `seconds` run short, rounds are left out.
        """
        self.figures = Figures()
        self._peers = peers
        self._scale = scale
        self._program = program
        self._directory = directory
        self._place = place
        self._seconds = seconds
        self._say = say
        self._numbers = count(1)

    def run(self, cases: Sequence[Case]) -> Figures:
        """Run the cases."""
        start, done, planned = time.monotonic(), 0, sum(case.seconds for case in cases)
        for group, members in groupby(cases, key=lambda case: case.group):
            together = list(members)
            done += sum(case.seconds for case in together)
            if group:
                self._run_group(together, start + self._seconds * done / planned)
            else:
                for case in together:
                    for crew in self._crews(case):
                        self._run_alone(case, crew)
        return self.figures

    def _crews(self, case: Case) -> list[Crew]:
        return [crew for crew in case.crews(self._scale) if crew.peer in self._peers]

    def _run_group(self, cases: Sequence[Case], end: float) -> None:
        crews = list(dict.fromkeys(crew for case in cases for crew in self._crews(case)))
        with ExitStack() as stack:
            stations: dict[Crew, Station] = {}
            for crew in crews:
                self._say(f"{cases[0].name}: {crew.label} comes")
                if station := self._open(stack, crew, cases):
                    stations[crew] = station
            rounds = min(self._scale.rounds, max(case.most_rounds for case in cases))
            for turn in range(rounds):
                if turn >= _FEWEST and time.monotonic() > end:
                    names = ", ".join(case.name for case in cases)
                    self.figures.notes.append(f"There was time for {turn} rounds only of {names}.")
                    return
                self._run_round(cases, stations, turn)

    def _run_round(self, cases: Sequence[Case], stations: dict[Crew, Station], turn: int) -> None:
        for case in cases:
            for crew in _rotated(self._crews(case), turn):
                if crew in stations and turn < case.most_rounds:
                    self._say(f"{case.name}, round {turn + 1} of {self._scale.rounds}: {crew.label}")
                    self._measure(case, stations, crew)

    def _run_alone(self, case: Case, crew: Crew) -> None:
        with ExitStack() as stack:
            self._say(f"{case.name}: {crew.label}")
            station = self._open(stack, crew, [case])
            stations = {crew: station} if station else {}
            for _ in range(min(self._scale.rounds, case.most_rounds)):
                if crew in stations:
                    self._measure(case, stations, crew)

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
        station = stations[crew]
        with self._forgive(crew):
            self.figures.add(case.name, crew.label, case.measure(station, self._scale))
            self._audit(crew, station)
            return
        self._audit(crew, station)
        del stations[crew]

    def _audit(self, crew: Crew, station: Station) -> None:
        """Take over what was seen of deliveries since the last time."""
        self.figures.deliveries += station.deliveries
        station.deliveries = 0
        if any(station.faults.values()):
            self._say(f"{crew.label}: deliveries went wrong; its log ends: {station.server.program.last_words}")
        self.figures.blame(crew.label, station.faults)
        station.faults.clear()

    @contextmanager
    def _forgive(self, crew: Crew) -> Iterator[None]:
        """Go on without a row that can not be measured, and say so."""
        try:
            yield
        except (CannotRun, OSError) as error:
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
