"""The source `system`: load, memory, disk usage and temperatures of this machine, as JSON objects.

    {"time": 1763751574.123,
     "cpu": {"percent": 3.4, "count": 2},
     "memory": {"percent": 2.9, "total": 25276502016, "used": 737984512, "available": 24538517504},
     "load": [0.12, 0.2, 0.18],
     "temperature": {"coretemp": 51.0},
     "disk": {"/": {"percent": 12.0, "total": 84281712640, "used": 9600000000, "free": 70000000000}}}

Units: bytes, unix seconds, degrees Celsius. `load` is the average of the last 1, 5 and 15 minutes; each sensor reports
its highest temperature.
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec
import psutil
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from pushd.core.message import JSON
from pushd.sources.publisher import SourceMessage, SourcePublisher
from pushd.sources.supervision import Interval

T = TypeVar("T")
InThread = Callable[[Callable[[], Any]], Deferred[Any]]
"""Calls a blocking function in a thread; see `pushd.sources.threads`."""

_TIMEOUT_SECONDS = 0.5
"""Timeout of a reading. Some sensors take 0.1 s; a later value would be out of date."""


class SystemRunner:
    """Publishes the figures at each interval.

    CPU, memory and load are read synchronously from the kernel. A disk may be asleep or on an unreachable file server,
    and sensors may be slow: they are read in threads, and their figures are null after a timeout.

    :param interval: seconds between two messages.
    :param disks: paths, one on each file system to report.
    :param now: returns unix seconds.
    """

    def __init__(
        self,
        publisher: SourcePublisher,
        clock: IReactorTime,
        interval: float,
        disks: Sequence[str],
        now: Callable[[], float],
        run_in_thread: InThread,
    ) -> None:
        self._publisher = publisher
        self._clock = clock
        self._interval = interval
        self._now = now
        self._disks = {disk: self._disk_gauge(disk, run_in_thread) for disk in disks}
        self._temperature = Gauge(publisher.source, "temperatures", read_temperatures, clock, run_in_thread)

    async def run(self) -> None:
        """Publish until cancelled. The first message is one interval after the start, as CPU usage is a difference."""
        cpu, interval = CpuMeter(), Interval(self._clock, self._interval)
        while True:
            await interval.wait()
            figures = {"time": round(self._now(), 3), "cpu": cpu.figures()}
            figures |= {"memory": read_memory(), "load": [round(load, 2) for load in psutil.getloadavg()]}
            temperature, *disks = await self._read_gauges()
            figures |= {"temperature": temperature, "disk": dict(zip(self._disks, disks, strict=True))}
            await self._publisher.publish([SourceMessage(msgspec.json.encode(figures), JSON)])

    def _disk_gauge(self, path: str, run_in_thread: InThread) -> "Gauge[dict[str, float]]":
        return Gauge(self._publisher.source, f"disk {path}", lambda: read_disk(path), self._clock, run_in_thread)

    def _read_gauges(self) -> Deferred[list[dict[str, float] | None]]:
        gauges = (self._temperature, *self._disks.values())
        return gatherResults([Deferred.fromCoroutine(gauge.read()) for gauge in gauges], consumeErrors=True)


class Gauge(Generic[T]):
    """A figure that may take long to read. There is never more than one reading at a time.

    :param source: name of the source, for the log.
    :param what: name of the figure, for the log.
    :param read: reads the figure; called in a thread.
    """

    log = Logger()

    def __init__(
        self, source: str, what: str, read: Callable[[], T], clock: IReactorTime, run_in_thread: InThread
    ) -> None:
        self._name = {"source": source, "what": what}
        self._read = read
        self._clock = clock
        self._run_in_thread = run_in_thread
        self._is_reading = False
        self._is_healthy = True

    async def read(self) -> T | None:
        """Return the figure, or None if it cannot be read in time, which is logged once."""
        if self._is_reading:
            return None
        try:
            value = await self._start_reading().addTimeout(_TIMEOUT_SECONDS, self._clock)
        except CancelledError:
            raise
        except TimeoutError:
            self._log_problem("{source}: {what} timed out: null until it can be read")
            return None
        except Exception as error:
            self._log_problem("{source}: {what} cannot be read: null until it can ({reason})", reason=str(error))
            return None
        self._is_healthy = True
        return value

    def _start_reading(self) -> Deferred[T]:
        """Start a reading; its end is recorded even after a timeout."""
        answer: Deferred[T] = Deferred()
        self._is_reading = True
        try:
            self._run_in_thread(self._read).addBoth(self._reading_finished).addBoth(answer.callback)
        except BaseException:
            self._is_reading = False
            raise
        return answer

    def _reading_finished(self, result: Any) -> Any:
        self._is_reading = False
        return result

    def _log_problem(self, sentence: str, **fields: str) -> None:
        if self._is_healthy:
            self.log.warn(sentence, **self._name, **fields)
        self._is_healthy = False


class CpuMeter:
    """CPU usage since the previous call.

    Unlike `psutil.cpu_percent`, it keeps the previous values per instance, not per process.
    """

    def __init__(self) -> None:
        self._count = psutil.cpu_count()
        self._before = _cpu_seconds()

    def figures(self) -> dict[str, float | None]:
        """Return the usage of all processors together in percent, and their number."""
        (busy, total), (busy_before, total_before) = now, _ = _cpu_seconds(), self._before
        self._before = now
        passed = total - total_before
        percent = 100 * (busy - busy_before) / passed if passed > 0 else 0.0
        return {"percent": round(min(max(percent, 0.0), 100.0), 1), "count": self._count}


def read_memory() -> dict[str, float]:
    """Return the percentage of memory that is not available, and sizes in bytes."""
    usage = psutil.virtual_memory()
    return {"percent": usage.percent, "total": usage.total, "used": usage.used, "available": usage.available}


def read_disk(path: str) -> dict[str, float]:
    """Return the percentage in use, and sizes in bytes; `free` is what unprivileged users can use.

    :raises OSError: when the path cannot be read.
    """
    usage = psutil.disk_usage(path)
    return {"percent": usage.percent, "total": usage.total, "used": usage.used, "free": usage.free}


def read_temperatures() -> dict[str, float]:
    """Return degrees Celsius by sensor; empty if the machine has none or does not expose them."""
    # Missing on macOS.
    sensors: dict[str, Any] = getattr(psutil, "sensors_temperatures", dict)()
    return {
        name: round(max(reading.current for reading in readings), 1) for name, readings in sensors.items() if readings
    }


def _cpu_seconds() -> tuple[float, float]:
    """Return busy and total CPU time in seconds. Guest time is part of user time; iowait counts as idle."""
    times = psutil.cpu_times()
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - times.idle - getattr(times, "iowait", 0.0), total
