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
from tests.worst.inputs import FURTHER, INPUTS, Input

_NORMAL_SECONDS = 1.0
_AFTER_SECONDS = 0.5
"""After the input, and after its connections are closed, while what is left to do is done."""
_NICER = 10
"""Those who send the inputs leave the processors to the daemon and to those who measure."""
_TICKS = os.sysconf("SC_CLK_TCK")
_ROW = "{:30} {:>9} {:>9} {:>9} {:>9} {:>7} {:>7}"


class Figures(NamedTuple):
    """What an input does to others, in seconds."""

    normal: float
    """99 of 100 deliveries take less while nothing else is done."""
    normal_longest: float
    usual: float
    """99 of 100 deliveries take less while the input is worked on."""
    longest: float
    """The longest delivery while the input is worked on."""
    cpu: float
    """CPU time of the daemon meanwhile."""
    wall: float
    """How long that takes."""


def measure(name: str, send: Input, options: Sequence[str]) -> Figures:
    """Send an input to a daemon of its own, while others publish and subscribe."""
    with tempfile.TemporaryDirectory() as directory:
        daemon = Daemon(Path(directory), *options)
        try:
            ports = Ports(daemon.http_port, daemon.tcp_port)
            with LatencyProbe(ports) as live:
                live.delays()
                time.sleep(_NORMAL_SECONDS)
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
    """Return the CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def main(arguments: Sequence[str]) -> int:
    """Measure the inputs that are named, or all; return the status of the process."""
    inputs = INPUTS | FURTHER
    own, _, options = " ".join(arguments).partition("-- ")
    parser = argparse.ArgumentParser(prog="python -m tests.worst", description=__doc__)
    parser.add_argument("inputs", nargs="*", choices=[*inputs, []], metavar="INPUT", help=", ".join(inputs))
    names = parser.parse_args(own.split()).inputs or list(inputs)
    os.nice(_NICER)
    print("The delay from a publish to a subscriber, of others than those who send the input:")
    print(_ROW.format("input", "longest", "p99", "normal", "p99", "CPU", "took"), flush=True)
    broken = 0
    for name in names:
        try:
            figures = measure(name, inputs[name], options.split())
        except (AssertionError, OSError) as error:
            broken += 1
            print(f"{name:30} BROKEN: {error}", flush=True)
            continue
        delays = (figures.longest, figures.usual, figures.normal_longest, figures.normal)
        row = [*map(_milliseconds, delays), f"{figures.cpu:.2f} s", f"{figures.wall:.1f} s"]
        print(_ROW.format(name, *row), flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
