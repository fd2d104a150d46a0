"""`python -m bench.compare CHECKOUT`: this checkout's daemon against that of another one, in interleaved rounds.

Both daemons run at the same time and are measured in turn, so that what else the machine does affects both alike. The
report gives the ratio of their figures, with its 95 % confidence interval over the rounds.
"""

import argparse
import math
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev

from bench import report
from bench.cases import CASES
from bench.cases.interface import Case, Column, Scale
from bench.cpu import choose_cpus
from bench.figures import Figures
from bench.options import Names, Progress, positive, stop_on_signal, within_files
from bench.peers import PEERS
from bench.peers.pushd import Pushd
from bench.programs import CannotRun, compile_c
from bench.rounds import Rounds
from bench.testbed import Scenario, Testbed

BEFORE = "before"
"""The name of the other checkout's daemon, as a peer and in the rows."""
_COSTS = ("micros", "paced", "back_to_back", "kib", "net")
"""The columns that are compared: CPU time and memory. Rates follow from them, with more noise."""
_STUDENT = (math.inf, 12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145)
"""Two-sided 95 % quantiles of Student's t-distribution for 0, 1, 2 … degrees of freedom."""
_NORMAL = 2.1
"""An upper bound of the same for more of them than that."""


@dataclass(frozen=True)
class Ratio:
    """How a figure of this checkout compares with that of the other one: 1.05 is 5 % more."""

    ratio: float
    """The geometric mean over the rounds."""
    low: float
    high: float
    """The bounds of the 95 % confidence interval; both are the ratio itself when there was only one round."""


def ratio_of(after: Sequence[float], before: Sequence[float]) -> Ratio:
    """Return the ratio of two rows of figures, paired by round.

    :raises CannotRun: when there are no pairs of positive figures.
    """
    logs = [math.log(one / other) for one, other in zip(after, before, strict=False) if one > 0 and other > 0]
    if not logs:
        raise CannotRun("there are no figures to compare")
    middle = mean(logs)
    if len(logs) == 1:
        return Ratio(math.exp(middle), math.exp(middle), math.exp(middle))
    quantile = _STUDENT[len(logs) - 1] if len(logs) <= len(_STUDENT) else _NORMAL
    margin = quantile * stdev(logs) / math.sqrt(len(logs))
    return Ratio(math.exp(middle), math.exp(middle - margin), math.exp(middle + margin))


class PairedCase(Case):
    """A case whose scenarios of pushd run twice: by this checkout's daemon, and by the other one's."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self.name, self.title, self.about, self.columns = case.name, case.title, case.about, case.columns
        self.group, self.seconds, self.max_rounds = case.group, case.seconds, max(case.max_rounds, 100)
        if not case.group:
            self.max_rounds = case.max_rounds

    def scenarios(self, scale: Scale) -> Sequence[Scenario]:
        """See `Case`."""
        own = [scenario for scenario in self._case.scenarios(scale) if scenario.peer == "pushd"]
        return [replace(scenario, peer=peer) for scenario in own for peer in ("pushd", BEFORE)]

    def prepare(self, testbed: Testbed, scale: Scale) -> None:
        """See `Case`."""
        self._case.prepare(testbed, scale)

    def measure(self, testbed: Testbed, scale: Scale) -> Mapping[str, float]:
        """See `Case`."""
        scenario = testbed.scenario
        testbed.scenario = replace(scenario, peer="pushd")
        try:
            return self._case.measure(testbed, scale)
        finally:
            testbed.scenario = scenario


def ratios(figures: Figures) -> Iterator[tuple[Case, str, Column, Ratio]]:
    """Return the ratio of every cost, by case, row and column."""
    for name, rows in figures.rounds.items():
        case = CASES[name]
        for row, rounds in rows.items():
            if row.startswith(BEFORE):
                continue
            other = rows.get(f"{BEFORE}{row.removeprefix('pushd')}", [])
            for column in case.columns:
                pairs = [
                    (one[column.key], two[column.key])
                    for one, two in zip(rounds, other, strict=False)
                    if column.key in one and column.key in two
                ]
                if column.key in _COSTS and pairs:
                    yield case, row, column, ratio_of(*zip(*pairs, strict=True))


def as_text(figures: Figures) -> str:
    """Return the report."""
    table = [["", "figure", "after / before", "95 % interval"]]
    for case, row, column, found in ratios(figures):
        interval = f"{found.low:.3f} to {found.high:.3f}"
        table.append([f"{case.name}: {row}", column.heading, f"{found.ratio:.3f}", interval])
    parts = [report.columns(table), report.faults(figures), *figures.notes]
    return "\n\n".join(part for part in parts if part) + "\n"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    cases = [name for name, case in CASES.items() if any(column.key in _COSTS for column in case.columns)]
    parser = argparse.ArgumentParser(
        prog="python -m bench.compare", description="Compare the daemon of this checkout with that of another one."
    )
    parser.add_argument("checkout", type=Path, metavar="CHECKOUT", help="the directory of the other checkout")
    parser.add_argument("--cases", type=Names(cases, "case"), default=cases, metavar="NAMES", help=", ".join(cases))
    parser.add_argument("--subscribers", type=positive, default=1000, metavar="N", help="of the usual cases, 1000")
    parser.add_argument(
        "--many-subscribers", type=positive, default=5000, metavar="N", help="in fan-out and idle, 5000"
    )
    parser.add_argument("--rounds", type=positive, default=10, metavar="N", help="10")
    parser.add_argument("--minutes", type=positive, default=15, metavar="N", help="fewer rounds when this passes; 15")
    parser.add_argument("--effort", type=float, default=1.0, metavar="X", help="factor for the messages of a round; 1")
    parser.add_argument("--config", type=Path, metavar="FILE", help="the configuration of this checkout's daemon")
    options = parser.parse_args(arguments)
    if options.config is not None and not options.config.is_file():
        parser.error(f"{options.config} does not exist")
    if not (options.checkout / "pushd" / "__init__.py").is_file():
        parser.error(f"{options.checkout} is not a checkout of pushd")
    if not list(options.checkout.glob("pushd/net/_fan_out*.so")):
        parser.error(f"{options.checkout} has no compiled extension; run: python setup.py build_ext --inplace")
    return options


def run(options: argparse.Namespace) -> Figures:
    """Run the comparison and print the report.

    :raises CannotRun: when nothing can be measured.
    """
    notes: list[str] = []
    scale = Scale(options.subscribers, options.many_subscribers, options.rounds, options.effort)
    scale = within_files(scale, notes)
    PEERS[BEFORE] = Pushd(BEFORE, options.checkout.resolve())
    if options.config is not None:
        PEERS["pushd"] = Pushd(config=options.config.resolve())
    where = choose_cpus()
    os.sched_setaffinity(0, where.load)
    with tempfile.TemporaryDirectory(prefix="pushd-bench-") as name:
        directory = Path(name)
        program = compile_c("load", directory)
        seconds = 60.0 * options.minutes
        rounds = Rounds(["pushd", BEFORE], scale, program, directory, where, seconds, Progress())
        figures = rounds.run([PairedCase(CASES[name]) for name in options.cases])
    figures.notes[:0] = notes
    if not figures.rounds:
        raise CannotRun(" ".join(["nothing was measured.", *figures.notes]))
    print(as_text(figures))
    return figures


def main(arguments: Sequence[str]) -> int:
    """Run the comparison; return the exit status."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, stop_on_signal)
    try:
        run(options)
    except CannotRun as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"bench: stopped: {shlex.join(['python', '-m', 'bench.compare', *arguments])}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
