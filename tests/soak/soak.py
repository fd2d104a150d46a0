"""Everything together against one daemon, for as long as is asked, and what has to hold meanwhile and afterwards."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from statistics import median

import psutil

from tests.doors.real import Daemon
from tests.soak.hostile_clients import crowd, junk, stall
from tests.soak.publishers import KINDS, publish
from tests.soak.sequence_check import Ear
from tests.soak.transports import OURS, WAYS, Heard, Ports

LISTENERS = 18
REPORT_SECONDS = 10.0
SETTLE_SECONDS = 300.0
"""Memory may grow for so long, and in a shorter run for half of it."""
_GROWTH = 1.10
_SAMPLES = 6
"""Of memory, a minute's worth, of which the median counts: what a burst takes for a moment is no leak."""
_LAST_WORDS = 15.0
"""Seconds that what was published has to reach everybody, and that descriptors have to be given back."""
_TOPICS = ("soak/*", "**", ",".join(sorted(OURS)), "soak/http")
_STAY = 8.0
_AWAY = 2.0
_OPTIONS = (
    *("--history-age", "60s"),
    *("--limits-message", "64KiB"),
    *("--limits-channels", "1000"),
)
"""So that what junk leaves behind is gone before memory is judged."""


class Soak:
    """A run. `faults` is what was wrong, in sentences."""

    def __init__(self, directory: Path, seconds: float, seed: int = 1) -> None:
        self.faults: list[str] = []
        self.ears: list[Ear] = []
        self.returns = 0
        """How often a listener came back."""
        self._seconds = seconds
        self._choose = random.Random(seed)
        self._daemon = Daemon(directory, *_OPTIONS)
        self._ports = Ports(self._daemon.http_port, self._daemon.tcp_port)
        self._process = psutil.Process(self._daemon.pid)
        self._last: dict[str, int] = {}
        """The last number that was published, by channel."""
        self._delays: deque[float] = deque()
        self._over = asyncio.Event()
        """Set when nothing more is published."""
        self._memory: deque[int] = deque(maxlen=_SAMPLES)
        self._ceiling = 0.0
        """Bytes that the daemon may have in memory, once that is settled."""

    @property
    def pid(self) -> int:
        """The number of the daemon's process."""
        return self._daemon.pid

    async def run(self) -> None:
        """Do it all."""
        try:
            await self._run()
        finally:
            self._daemon.stop()

    async def _run(self) -> None:
        await asyncio.to_thread(self._daemon.publish, "before")  # what answers has all its descriptors
        descriptors = self._process.num_fds()
        publishers = [asyncio.ensure_future(publish(kind, self._ports, self._last, self._over)) for kind in KINDS]
        tasks = [self._listen(f"listener {number}") for number in range(LISTENERS)]
        tasks += [junk(self._ports, self._choose), stall(self._ports), crowd(self._ports)]
        others = [asyncio.ensure_future(task) for task in tasks]
        await self._watch([*publishers, *others])
        self._over.set()
        self._ended(await asyncio.gather(*publishers, return_exceptions=True))
        await self._until(lambda: not any(ear.lacks(self._last) for ear in self.ears))
        for ear in self.ears:
            for channel in ear.lacks(self._last):
                self.faults.append(f"{ear.name}: {channel} ended with {ear.numbers[channel]} of {self._last[channel]}")
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if not await self._until(lambda: self._process.num_fds() <= descriptors):
            self.faults.append(f"{self._process.num_fds()} descriptors are open, and {descriptors} were at the start")
        await asyncio.to_thread(self._ask_whether_well)

    async def _listen(self, name: str) -> None:
        """Listen by one way after another, each with the cursor of the one before."""
        choose, ear = self._choose, Ear(name, self.faults.append)
        topics = choose.choice(_TOPICS)
        self.ears.append(ear)
        while True:
            way = choose.choice(list(WAYS))
            ear.name = f"{name} by {way}"
            try:
                async with asyncio.timeout(None if self._over.is_set() else _STAY * choose.random()):
                    await self._hear(way, topics, ear)
            except TimeoutError:
                await asyncio.sleep(0 if self._over.is_set() else _AWAY * choose.random())
            self.returns += 1

    async def _hear(self, way: str, topics: str, ear: Ear) -> None:
        since = time.monotonic()
        items = WAYS[way](self._ports, topics, ear.cursor)
        try:
            async for item in items:
                if not isinstance(item, Heard):
                    ear.gap()
                elif item.channel in OURS:
                    ear.hear(item.id, item.channel, item.data["number"])
                    if (at := item.data["at"]) > since:
                        self._delays.append(time.monotonic() - at)
        finally:
            await items.aclose()

    async def _watch(self, tasks: list["asyncio.Future[None]"]) -> None:
        """Report again and again; end early with a task that ends, which none does."""
        start = time.monotonic()
        settled = min(SETTLE_SECONDS, self._seconds / 2)
        while (passed := time.monotonic() - start) < self._seconds:
            done, _ = await asyncio.wait(
                tasks, timeout=min(REPORT_SECONDS, self._seconds - passed), return_when=asyncio.FIRST_COMPLETED
            )
            self._report(time.monotonic() - start, settled)
            if done:
                self._ended([task.exception() for task in done])
                return

    def _ended(self, outcomes: list[BaseException | None]) -> None:
        self.faults += [f"{type(error).__name__}: {error}" for error in outcomes if error is not None]

    def _report(self, passed: float, settled: float) -> None:
        memory, busy = self._process.memory_info().rss, self._process.cpu_percent()
        self._memory.append(memory)
        if passed >= settled:
            usual = median(self._memory)
            self._ceiling = self._ceiling or usual * _GROWTH
            if usual > self._ceiling:
                self.faults.append(f"memory is at {usual / 2**20:.1f} MiB after {passed:.0f} s")
        delays = sorted(self._delays)
        self._delays.clear()
        slowest = delays[len(delays) * 99 // 100] * 1000 if delays else 0.0
        print(
            f"soak: {passed:5.0f} s  {memory / 2**20:6.1f} MiB  {busy:3.0f} % of a core  "
            f"{self._process.num_fds():4} descriptors  p99 {slowest:6.1f} ms  "
            f"{sum(ear.heard for ear in self.ears):8} heard  {self.returns:6} returns  "
            f"{sum(ear.gaps for ear in self.ears)} gaps  {len(self.faults)} faults",
            flush=True,
        )

    async def _until(self, holds: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + _LAST_WORDS
        while not holds():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    def _ask_whether_well(self) -> None:
        """See that the daemon is as on its first day."""
        daemon = self._daemon
        try:
            daemon.assert_well()
            with daemon.lines() as lines:
                lines.ask(b"SUB afterwards")
                daemon.publish("afterwards", b"still here")
                assert lines.reply().endswith(b" still here"), "a publish was not delivered"
            for transport in ("sse", "stream", "mixed", "longpoll", "websocket", "tcp"):
                series = f'pushd_connections{{transport="{transport}"}}'
                deadline = time.monotonic() + _LAST_WORDS
                while count := daemon.counter(series):
                    assert time.monotonic() < deadline, f"{series} is still {count:.0f}"
            assert not daemon.counter('pushd_refusals_total{code="internal"}'), "something broke within"
        except AssertionError as error:
            self.faults.append(str(error))
