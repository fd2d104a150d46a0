"""An endless stream: how busy, full and hot this machine is, as one JSON object after the other.

    {"time": 1763751574.123,
     "cpu": {"percent": 3.4, "count": 2},
     "memory": {"percent": 2.9, "total": 25276502016, "used": 737984512, "available": 24538517504},
     "load": [0.12, 0.2, 0.18],
     "temperature": {"coretemp": 51.0},
     "disk": {"/": {"percent": 12.0, "total": 84281712640, "used": 9600000000, "free": 70000000000}}}

Bytes, unix seconds, degrees Celsius; the load of the last 1, 5 and 15 minutes; of each sensor its hottest place.
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
"""How to call what may take long; see `pushd.sources.threads`."""

_TIMEOUT_SECONDS = 0.5
"""Some sensors take a tenth of a second to answer; what takes longer is not asked for a figure of now."""


class SystemRunner:
    """Publishes the figures at each interval.

    CPU, memory and load come from the kernel's memory, at once. A disk may be asleep or on a server that is gone, and
    sensors may be slow: they are asked aside, and where no answer comes in time their figures are null.

    :param interval: seconds.
    :param disks: paths, each standing for the file system that it is on.
    :param now: gives unix seconds.
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
        """Publish until cancelled, first an interval after the start: before there is no busy time to tell."""
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
    """A figure that may take long to read. It is never asked for again before it has answered.

    :param source: the name of the source, for the log.
    :param what: what is read, for the log.
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
        """Give the figure, or None where it can not be read or does not come in time, which is logged once."""
        if self._is_reading:
            return None
        try:
            value = await self._start_reading().addTimeout(_TIMEOUT_SECONDS, self._clock)
        except CancelledError:
            raise
        except TimeoutError:
            self._log_problem("{source}: {what}: no answer, so null until there is one")
            return None
        except Exception as error:
            self._log_problem("{source}: {what}: null, since it can not be read: {why}", why=str(error))
            return None
        self._is_healthy = True
        return value

    def _start_reading(self) -> Deferred[T]:
        """Ask, and know when the answer is there, also if nobody waits for it any more."""
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
    """How busy the processors were since it was last asked.

    `psutil.cpu_percent` would do it too, but it remembers for the whole process when it was last asked.
    """

    def __init__(self) -> None:
        self._count = psutil.cpu_count()
        self._before = _cpu_seconds()

    def figures(self) -> dict[str, float | None]:
        """Give the percentage of all processors together, and how many there are."""
        (busy, total), (busy_before, total_before) = now, _ = _cpu_seconds(), self._before
        self._before = now
        passed = total - total_before
        percent = 100 * (busy - busy_before) / passed if passed > 0 else 0.0
        return {"percent": round(min(max(percent, 0.0), 100.0), 1), "count": self._count}


def read_memory() -> dict[str, float]:
    """Give the percentage that is not available, and bytes."""
    found = psutil.virtual_memory()
    return {"percent": found.percent, "total": found.total, "used": found.used, "available": found.available}


def read_disk(path: str) -> dict[str, float]:
    """Give the percentage in use and bytes; `free` is what is free for all users but root.

    :raises OSError: there is no such path.
    """
    found = psutil.disk_usage(path)
    return {"percent": found.percent, "total": found.total, "used": found.used, "free": found.free}


def read_temperatures() -> dict[str, float]:
    """Give degrees Celsius by sensor, nothing where the machine has none or does not tell."""
    # Not there on macOS.
    sensors: dict[str, Any] = getattr(psutil, "sensors_temperatures", dict)()
    return {name: round(max(place.current for place in places), 1) for name, places in sensors.items() if places}


def _cpu_seconds() -> tuple[float, float]:
    """The seconds that processors were busy, and all. Guests are in user time already; waiting for a disk is idle."""
    times = psutil.cpu_times()
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - times.idle - getattr(times, "iowait", 0.0), total
