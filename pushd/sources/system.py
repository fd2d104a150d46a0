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
from pushd.sources.publisher import Publisher, Saying
from pushd.sources.supervision import Beat

T = TypeVar("T")
Aside = Callable[[Callable[[], Any]], Deferred[Any]]
"""How to call what may take long; see `pushd.sources.threads`."""

_PATIENCE_SECONDS = 0.5
"""Some sensors take a tenth of a second to answer; what takes longer is not asked for a figure of now."""


class System:
    """Publishes the figures at each interval.

    CPU, memory and load come from the kernel's memory, at once. A disk may be asleep or on a server that is gone, and
    sensors may be slow: they are asked aside, and where no answer comes in time their figures are null.

    :param interval: seconds.
    :param disks: paths, each standing for the file system that it is on.
    :param now: gives unix seconds.
    """

    def __init__(
        self,
        publisher: Publisher,
        clock: IReactorTime,
        interval: float,
        disks: Sequence[str],
        now: Callable[[], float],
        aside: Aside,
    ) -> None:
        self._publisher = publisher
        self._clock = clock
        self._interval = interval
        self._now = now
        self._disks = {disk: self._disk_reading(disk, aside) for disk in disks}
        self._temperature = Reading(publisher.source, "temperatures", temperatures, clock, aside)

    async def run(self) -> None:
        """Publish until cancelled, first an interval after the start: before there is no busy time to tell."""
        cpu, beat = CpuMeter(), Beat(self._clock, self._interval)
        while True:
            await beat.next()
            figures = {"time": round(self._now(), 3), "cpu": cpu.figures()}
            figures |= {"memory": memory(), "load": [round(load, 2) for load in psutil.getloadavg()]}
            temperature, *disks = await self._asked()
            figures |= {"temperature": temperature, "disk": dict(zip(self._disks, disks, strict=True))}
            await self._publisher.publish([Saying(msgspec.json.encode(figures), JSON)])

    def _disk_reading(self, path: str, aside: Aside) -> "Reading[dict[str, float]]":
        return Reading(self._publisher.source, f"disk {path}", lambda: disk(path), self._clock, aside)

    def _asked(self) -> Deferred[list[dict[str, float] | None]]:
        readings = (self._temperature, *self._disks.values())
        return gatherResults([Deferred.fromCoroutine(reading.value()) for reading in readings], consumeErrors=True)


class Reading(Generic[T]):
    """A figure that may take long to read. It is never asked for again before it has answered.

    :param source: the name of the source, for the log.
    :param what: what is read, for the log.
    """

    log = Logger()

    def __init__(self, source: str, what: str, read: Callable[[], T], clock: IReactorTime, aside: Aside) -> None:
        self._name = {"source": source, "what": what}
        self._read = read
        self._clock = clock
        self._aside = aside
        self._is_asked = False
        self._is_well = True

    async def value(self) -> T | None:
        """Give the figure, or None where it can not be read or does not come in time, which is logged once."""
        if self._is_asked:
            return None
        try:
            value = await self._ask().addTimeout(_PATIENCE_SECONDS, self._clock)
        except CancelledError:
            raise
        except TimeoutError:
            self._tell("{source}: {what}: no answer, so null until there is one")
            return None
        except Exception as error:
            self._tell("{source}: {what}: null, since it can not be read: {why}", why=str(error))
            return None
        self._is_well = True
        return value

    def _ask(self) -> Deferred[T]:
        """Ask, and know when the answer is there, also if nobody waits for it any more."""
        answer: Deferred[T] = Deferred()
        self._is_asked = True
        try:
            self._aside(self._read).addBoth(self._answered).addBoth(answer.callback)
        except BaseException:
            self._is_asked = False
            raise
        return answer

    def _answered(self, result: Any) -> Any:
        self._is_asked = False
        return result

    def _tell(self, sentence: str, **fields: str) -> None:
        if self._is_well:
            self.log.warn(sentence, **self._name, **fields)
        self._is_well = False


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


def memory() -> dict[str, float]:
    """Give the percentage that is not available, and bytes."""
    found = psutil.virtual_memory()
    return {"percent": found.percent, "total": found.total, "used": found.used, "available": found.available}


def disk(path: str) -> dict[str, float]:
    """Give the percentage in use and bytes; `free` is what is free for all users but root.

    :raises OSError: there is no such path.
    """
    found = psutil.disk_usage(path)
    return {"percent": found.percent, "total": found.total, "used": found.used, "free": found.free}


def temperatures() -> dict[str, float]:
    """Give degrees Celsius by sensor, nothing where the machine has none or does not tell."""
    # Not there on macOS.
    sensors: dict[str, Any] = getattr(psutil, "sensors_temperatures", dict)()
    return {name: round(max(place.current for place in places), 1) for name, places in sensors.items() if places}


def _cpu_seconds() -> tuple[float, float]:
    """The seconds that processors were busy, and all. Guests are in user time already; waiting for a disk is idle."""
    times = psutil.cpu_times()
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - times.idle - getattr(times, "iowait", 0.0), total
