"""CPU time, memory and CPU affinity of processes, as reported by Linux."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = 1 / os.sysconf("SC_CLK_TCK")


class CpuPlacement(NamedTuple):
    """The CPUs of the servers and of the load client: disjoint if there are at least two."""

    server: frozenset[int]
    load: frozenset[int]


def choose_cpus() -> CpuPlacement:
    """Return the first available CPU for the server, the last one for the load client and this process."""
    cpus = sorted(os.sched_getaffinity(0))
    return CpuPlacement(frozenset(cpus[:1]), frozenset(cpus[-1:]))


def process_tree(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for each in found:
        for task in _tasks(each):
            found.extend(int(child) for child in _read(task / "children").split())
    return found


def seconds(pids: Iterable[int]) -> float:
    """Return the CPU time in seconds, user and kernel mode, of all threads of these processes."""
    return sum(_seconds(pid) for pid in pids)


def memory(pids: Iterable[int]) -> int:
    """Return the resident memory of these processes in bytes; processes that have exited count as 0."""
    fields = (_read(_PROC / str(pid) / "statm").split() for pid in pids)
    return sum(int(each[1]) * _PAGE for each in fields if each)


def _seconds(pid: int) -> float:
    # The scheduler counts nanoseconds per thread; user plus system time is the same sum in ticks of 10 ms.
    schedules = [_read(task / "schedstat").split() for task in _tasks(pid)]
    if schedules and all(schedules):
        return sum(int(schedule[0]) for schedule in schedules) / 1e9
    fields = _read(_PROC / str(pid) / "stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK if fields else 0.0


def _tasks(pid: int) -> list[Path]:
    try:
        return list((_PROC / str(pid) / "task").iterdir())
    except FileNotFoundError:
        return []


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
