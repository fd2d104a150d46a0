"""The description of the machine."""

import os
import platform
from collections.abc import Collection
from pathlib import Path

from bench.cases.interface import Scale
from bench.cpu import CpuPlacement
from bench.peers import PEERS


def describe(placement: CpuPlacement, scale: Scale, peers: Collection[str]) -> list[tuple[str, str]]:
    """Return the machine, the scale, and the versions of all servers, as name and value."""
    facts = [
        ("processor", f"{_processor()}, {os.cpu_count()} CPUs"),
        ("kernel", f"{platform.system()} {platform.release()}, {platform.machine()}"),
        ("system", _system()),
        ("server on", _cpus(placement.server)),
        ("load on", _cpus(placement.load)),
        ("subscribers", f"{scale.subscribers:,}; in the cases with many, {scale.many_subscribers:,}"),
    ]
    return facts + [(PEERS[name].name, PEERS[name].version()) for name in peers]


def _cpus(cpus: Collection[int]) -> str:
    return "CPU " + ", ".join(map(str, sorted(cpus)))


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    except OSError:
        return "unknown"
