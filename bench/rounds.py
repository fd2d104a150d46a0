"""The schedule: cases by group, with interleaved rounds, so that other activity affects all rows alike."""

import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count, groupby
from pathlib import Path

from bench.cases.interface import Case, Scale
from bench.cpu import CpuPlacement
from bench.figures import Figures
from bench.programs import CannotRun
from bench.testbed import Scenario, Testbed, open_testbed

_FEWEST = 3
"""Minimum number of rounds; a median of fewer is meaningless."""


class Rounds:
    """A run of the benchmark."""

    def __init__(
        self,
        peers: Collection[str],
        scale: Scale,
        program: Path,
        directory: Path,
        placement: CpuPlacement,
        seconds: float,
        report_progress: Callable[[str], None],
    ) -> None:
        """`program` is the load client; servers and their files are in `directory` while they run.

        If `seconds` are not enough, fewer rounds are run.
        """
        self.figures = Figures()
        self._peers = peers
        self._scale = scale
        self._program = program
        self._directory = directory
        self._placement = placement
        self._seconds = seconds
        self._report_progress = report_progress
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
                    for scenario in self._scenarios(case):
                        self._run_alone(case, scenario)
        return self.figures

    def _scenarios(self, case: Case) -> list[Scenario]:
        return [scenario for scenario in case.scenarios(self._scale) if scenario.peer in self._peers]

    def _run_group(self, cases: Sequence[Case], end: float) -> None:
        scenarios = list(dict.fromkeys(scenario for case in cases for scenario in self._scenarios(case)))
        with ExitStack() as stack:
            testbeds: dict[Scenario, Testbed] = {}
            for scenario in scenarios:
                self._report_progress(f"{cases[0].name}: {scenario.label} starts")
                if testbed := self._open(stack, scenario, cases):
                    testbeds[scenario] = testbed
            rounds = min(self._scale.rounds, max(case.max_rounds for case in cases))
            for number in range(rounds):
                if number >= _FEWEST and time.monotonic() > end:
                    names = ", ".join(case.name for case in cases)
                    self.figures.notes.append(f"Only {number} rounds of {names} fit into the available time.")
                    return
                self._run_round(cases, testbeds, number)

    def _run_round(self, cases: Sequence[Case], testbeds: dict[Scenario, Testbed], number: int) -> None:
        for case in cases:
            for scenario in _rotated(self._scenarios(case), number):
                if scenario in testbeds and number < case.max_rounds:
                    self._report_progress(f"{case.name}, round {number + 1} of {self._scale.rounds}: {scenario.label}")
                    self._measure(case, testbeds, scenario)

    def _run_alone(self, case: Case, scenario: Scenario) -> None:
        with ExitStack() as stack:
            self._report_progress(f"{case.name}: {scenario.label}")
            testbed = self._open(stack, scenario, [case])
            testbeds = {scenario: testbed} if testbed else {}
            for _ in range(min(self._scale.rounds, case.max_rounds)):
                if scenario in testbeds:
                    self._measure(case, testbeds, scenario)

    def _open(self, stack: ExitStack, scenario: Scenario, cases: Sequence[Case]) -> Testbed | None:
        directory = stack.enter_context(_room(self._directory / str(next(self._numbers))))
        with self._skip_on_failure(scenario):
            testbed = open_testbed(stack, scenario, self._program, directory, self._placement)
            for case in cases:
                if scenario in self._scenarios(case):
                    case.prepare(testbed, self._scale)
            return testbed
        return None

    def _measure(self, case: Case, testbeds: dict[Scenario, Testbed], scenario: Scenario) -> None:
        testbed = testbeds[scenario]
        with self._skip_on_failure(scenario):
            self.figures.add(case.name, scenario.label, case.measure(testbed, self._scale))
            self._record_faults(scenario, testbed)
            return
        self._record_faults(scenario, testbed)
        del testbeds[scenario]

    def _record_faults(self, scenario: Scenario, testbed: Testbed) -> None:
        """Take over what was seen of deliveries since the last time."""
        self.figures.deliveries += testbed.deliveries
        testbed.deliveries = 0
        if any(testbed.faults.values()):
            self._report_progress(
                f"{scenario.label}: deliveries went wrong; its log ends: {testbed.server.program.last_log_line}"
            )
        self.figures.add_faults(scenario.label, testbed.faults)
        testbed.faults.clear()

    @contextmanager
    def _skip_on_failure(self, scenario: Scenario) -> Iterator[None]:
        """Omit a row that cannot be measured, and add a note."""
        try:
            yield
        except (CannotRun, OSError) as error:
            self.figures.notes.append(f"{scenario.label} is omitted: {error}")
            self._report_progress(self.figures.notes[-1])


def _rotated(scenarios: list[Scenario], number: int) -> list[Scenario]:
    """Return the scenarios rotated by one per round, so that none always follows the same one."""
    start = number % len(scenarios) if scenarios else 0
    return scenarios[start:] + scenarios[:start]


@contextmanager
def _room(directory: Path) -> Iterator[Path]:
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
