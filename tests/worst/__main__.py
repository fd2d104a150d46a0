"""`python -m tests.worst [INPUT...] [-- OPTION...]`: see `make worst`."""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.daemon.real import Daemon
from tests.soak.transports import Ports
from tests.storm.live_latency import LatencyProbe, p99
from tests.worst.inputs import HISTORY_INPUTS, INPUTS, Input

_BASELINE_SECONDS = 1.0
_AFTER_SECONDS = 0.5
"""After the input, and again after its connections are closed: the remaining work is done in this time."""
_NICENESS = 10
"""The niceness of the processes that send the inputs, so that the daemon and the measurement have the CPU."""
_TICKS = os.sysconf("SC_CLK_TCK")
_ROW = "{:30} {:>9} {:>9} {:>9} {:>9} {:>7} {:>8}"


class Figures(NamedTuple):
    """The effect of an input on other clients, in seconds."""

    normal: float
    """The 99th percentile of the delivery time without the input."""
    normal_longest: float
    usual: float
    """The 99th percentile of the delivery time during the input."""
    longest: float
    """The longest delivery time during the input."""
    cpu: float
    """The CPU time of the daemon during the input."""
    wall: float
    """The duration of the input."""


def measure(name: str, send: Input, options: Sequence[str]) -> Figures:
    """Send an input to a new daemon, while other clients publish and subscribe."""
    with tempfile.TemporaryDirectory() as directory:
        daemon = Daemon(Path(directory), *options)
        try:
            ports = Ports(daemon.http_port, daemon.tcp_port)
            with LatencyProbe(ports) as live:
                live.delays()
                time.sleep(_BASELINE_SECONDS)
                normal = live.delays()
                steps = send(ports)
                next(steps)
                live.delays()
                began, cpu = time.monotonic(), _cpu(daemon.pid)
                next(steps)
                time.sleep(_AFTER_SECONDS)
                during = live.delays()
                next(steps, None)
                time.sleep(_AFTER_SECONDS)
                during = sorted([*during, *live.delays()])
                wall, cpu = time.monotonic() - began, _cpu(daemon.pid) - cpu
            daemon.assert_healthy()
        finally:
            daemon.stop()
    wall -= 2 * _AFTER_SECONDS
    return Figures(p99(normal), normal[-1], p99(during), during[-1], cpu, wall)


def _cpu(pid: int) -> float:
    """Return the CPU time of a process so far in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def main(arguments: Sequence[str]) -> int:
    """Measure the named inputs, or all; return the exit status."""
    inputs = INPUTS | HISTORY_INPUTS
    own, _, options = " ".join(arguments).partition("-- ")
    parser = argparse.ArgumentParser(prog="python -m tests.worst", description=__doc__)
    parser.add_argument("inputs", nargs="*", choices=[*inputs, []], metavar="INPUT", help=", ".join(inputs))
    names = parser.parse_args(own.split()).inputs or list(inputs)
    os.nice(_NICENESS)
    print("Delivery times of clients that have nothing to do with the input:")
    print(_ROW.format("input", "longest", "p99", "normal", "p99", "CPU", "duration"), flush=True)
    broken = 0
    for name in names:
        try:
            figures = measure(name, inputs[name], options.split())
        except (AssertionError, OSError) as error:
            broken += 1
            print(f"{name:30} FAILED: {error}", flush=True)
            continue
        delays = (figures.longest, figures.usual, figures.normal_longest, figures.normal)
        row = [*map(_milliseconds, delays), f"{figures.cpu:.2f} s", f"{figures.wall:.1f} s"]
        print(_ROW.format(name, *row), flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
