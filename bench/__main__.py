"""`python -m bench`: the command line of the benchmark."""

import argparse
import json
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from bench import report
from bench.cases import CASES
from bench.cases.interface import Scale
from bench.cpu import choose_cpus
from bench.figures import Figures
from bench.goals import goals
from bench.machine import describe
from bench.options import Names, Progress, positive, stop_on_signal, within_files
from bench.page import write
from bench.peers import PEERS
from bench.programs import CannotRun, compile_c
from bench.rounds import Rounds

_QUICK = Scale(subscribers=200, many_subscribers=1000, rounds=1, effort=0.3)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print one sentence and exit with status 2."""
        self.exit(2, f"bench: {message}\n")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = _Parser(
        prog="python -m bench",
        description="Measure pushd side by side with its peers, on this machine.",
        epilog="Cases: " + "; ".join(f"{case.name}: {case.title}" for case in CASES.values()) + ".",
    )
    cases, peers = list(CASES), list(PEERS)
    parser.add_argument("--cases", type=Names(cases, "case"), default=cases, metavar="NAMES", help=", ".join(cases))
    parser.add_argument("--peers", type=Names(peers, "peer"), default=peers, metavar="NAMES", help=", ".join(peers))
    parser.add_argument("--subscribers", type=positive, metavar="N", help="number of subscribers in most cases, 1000")
    parser.add_argument(
        "--many-subscribers", type=positive, metavar="N", help="in fan-out, response-time and idle, 10000"
    )
    parser.add_argument("--rounds", type=positive, metavar="N", help="number of rounds, of which the median counts, 5")
    minutes = "available time; if it is short, only three rounds are run; 9"
    parser.add_argument("--minutes", type=positive, default=9, metavar="N", help=minutes)
    parser.add_argument("--quick", action="store_true", help="a fifth of the subscribers, fewer messages, one round")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write the report as Markdown, and a plot next to it (.svg)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of every round")
    options = parser.parse_args(arguments)
    for file in (options.out, options.json):
        if file is not None and not file.parent.is_dir():
            parser.error(f"{file} cannot be written: no directory {file.parent}")
    return options


def scale_of(options: argparse.Namespace) -> Scale:
    """Return the scale for these options."""
    scale = _QUICK if options.quick else Scale()
    given = {"subscribers": options.subscribers, "many_subscribers": options.many_subscribers, "rounds": options.rounds}
    return replace(scale, **{name: value for name, value in given.items() if value is not None})


def run(options: argparse.Namespace, command: str) -> Figures:
    """Run the benchmark and print the report.

    :raises CannotRun: when nothing can be measured.
    """
    if sys.platform != "linux":
        raise CannotRun("the benchmark needs Linux, which reports the CPU time and the memory of servers")
    notes = [
        f"{PEERS[name].name} is omitted: {why}." for name in options.peers if (why := PEERS[name].missing_dependency())
    ]
    peers = [name for name in options.peers if PEERS[name].missing_dependency() is None]
    scale = within_files(scale_of(options), notes)
    report_progress, where = Progress(), choose_cpus()
    os.sched_setaffinity(0, where.load)
    for note in notes:
        report_progress(note)
    if where.server == where.load:
        notes.append("There is one CPU only, so that server and load share it.")
    with tempfile.TemporaryDirectory(prefix="pushd-bench-") as name:
        directory = Path(name)
        report_progress("compiling the load client")
        rounds = Rounds(
            peers, scale, compile_c("load", directory), directory, where, 60.0 * options.minutes, report_progress
        )
        figures = rounds.run([CASES[name] for name in options.cases])
    if not figures.rounds:
        raise CannotRun(" ".join(["nothing was measured.", *notes, *figures.notes]))
    figures.notes[:0] = notes
    reached = goals(figures)
    print(report.as_text(figures, reached))
    if options.json:
        options.json.write_text(
            json.dumps({"rounds": figures.rounds, "faults": figures.faults, "notes": figures.notes})
        )
    if options.out:
        write(options.out, figures, reached, describe(where, scale, peers), scale, command)
        report_progress(f"wrote {options.out} and {options.out.with_suffix('.svg')}")
    return figures


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit status."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, stop_on_signal)
    try:
        run(options, shlex.join(["python", "-m", "bench", *arguments]))
    except CannotRun as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
