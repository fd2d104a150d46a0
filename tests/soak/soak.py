"""The soak test: publishers, subscribers and hostile clients of one daemon, and what must hold during and after it."""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from statistics import median

import psutil

from tests.daemon.real import Daemon
from tests.soak.hostile_clients import connect_in_bursts, read_nothing, send_malformed_input
from tests.soak.publishers import PUBLISHERS, publish
from tests.soak.sequence_check import SequenceCheck
from tests.soak.transports import CHANNELS, TRANSPORTS, Ports, ReceivedGap, ReceivedMessage, Subscription

SUBSCRIBERS = 18
REPORT_SECONDS = 10.0
SETTLE_SECONDS = 300.0
"""The time for which memory may grow; half of the run if that is shorter."""
_MAX_GROWTH = 1.10
_SAMPLES = 6
"""Memory samples, a minute's worth. Their median counts, since a short peak is not a leak."""
_GRACE_SECONDS = 60.0
"""The time in which each subscriber must receive something, all messages must arrive and descriptors must be closed
after the end of the run.
"""
_TOPICS = ("soak/*", "**", ",".join(sorted(CHANNELS)), "soak/http")
_TRANSPORTS = ("sse-json", "stream", "mixed", "longpoll", "lines", "websocket")
"""The transports whose messages have their channel."""
_STAY_SECONDS = 8.0
_AWAY_SECONDS = 2.0
_OPTIONS = (
    *("--history-age", "60s"),
    *("--limits-message", "64KiB"),
    *("--limits-channels", "1000"),
)
"""Limits that make what malformed input leaves behind expire before memory is measured."""


class Soak:
    """One run. `faults` has a sentence for each fault found."""

    def __init__(self, directory: Path, seconds: float, seed: int = 1) -> None:
        self.faults: list[str] = []
        self.checks: list[SequenceCheck] = []
        self.reconnects = 0
        """How often a subscriber has reconnected."""
        self._seconds = seconds
        self._random = random.Random(seed)
        self._daemon = Daemon(directory, *_OPTIONS, is_forked=False)  # an exit is still seen by psutil
        self._ports = Ports(self._daemon.http_port, self._daemon.tcp_port)
        self._process = psutil.Process(self._daemon.pid)
        self._published: dict[str, int] = {}
        """The last number published, by channel."""
        self._delays: deque[float] = deque()
        self._publishing_stopped = asyncio.Event()
        """Set when publishing has stopped."""
        self._memory_samples: deque[int] = deque(maxlen=_SAMPLES)
        self._memory_limit = 0.0
        """The most bytes of memory of the daemon, measured after the settling time; 0 before."""

    @property
    def pid(self) -> int:
        """The process id of the daemon."""
        return self._daemon.pid

    async def run(self) -> None:
        """Run the test, and stop the daemon."""
        try:
            await self._run()
        finally:
            self._daemon.stop()

    async def _run(self) -> None:
        await asyncio.to_thread(self._daemon.publish, "before")  # opens the descriptors that stay open
        descriptors = self._process.num_fds()
        publishers = [
            asyncio.ensure_future(publish(kind, self._ports, self._published, self._publishing_stopped))
            for kind in PUBLISHERS
        ]
        clients = [self._subscribe_repeatedly(f"subscriber {number}") for number in range(SUBSCRIBERS)]
        clients += [
            send_malformed_input(self._ports, self._random),
            read_nothing(self._ports),
            connect_in_bursts(self._ports),
        ]
        client_tasks = [asyncio.ensure_future(client) for client in clients]
        await self._watch([*publishers, *client_tasks])
        self._publishing_stopped.set()
        self._record_errors(await asyncio.gather(*publishers, return_exceptions=True))
        await self._eventually(lambda: not any(check.missing(self._published) for check in self.checks))
        for check in self.checks:
            for channel in check.missing(self._published):
                number, last = check.last_numbers[channel], self._published[channel]
                self.faults.append(f"{check.name}: {channel} ended with {number} of {last}")
        for task in client_tasks:
            task.cancel()
        await asyncio.gather(*client_tasks, return_exceptions=True)
        if not await self._eventually(lambda: self._process.num_fds() <= descriptors):
            self.faults.append(f"{self._process.num_fds()} descriptors are open; at the start there were {descriptors}")
        await asyncio.to_thread(self._check_daemon)

    async def _subscribe_repeatedly(self, name: str) -> None:
        """Subscribe over one transport after another, each time with the last cursor."""
        rng, check = self._random, SequenceCheck(name, self.faults.append)
        topics = rng.choice(_TOPICS)
        self.checks.append(check)
        is_stopped = self._publishing_stopped.is_set
        while True:
            transport = rng.choice(_TRANSPORTS)
            check.name = f"{name} over {transport}"
            try:
                async with asyncio.timeout(None if is_stopped() else _STAY_SECONDS * rng.random()):
                    await self._receive(transport, topics, check)
            except TimeoutError:
                await asyncio.sleep(0 if is_stopped() else _AWAY_SECONDS * rng.random())
            self.reconnects += 1

    async def _receive(self, transport: str, topics: str, check: SequenceCheck) -> None:
        connected_at = time.monotonic()
        items = TRANSPORTS[transport](self._ports, Subscription(topics, check.cursor))
        try:
            async for item in items:
                if isinstance(item, ReceivedGap):
                    check.on_gap()
                elif isinstance(item, ReceivedMessage) and item.channel in CHANNELS:
                    check.on_message(item.id, item.channel, item.data["number"])
                    if (published_at := item.data["at"]) > connected_at:
                        self._delays.append(time.monotonic() - published_at)
        finally:
            await items.aclose()

    async def _watch(self, tasks: list["asyncio.Future[None]"]) -> None:
        """Report regularly until the time is over, and each subscriber has received a message.

        Stop early if a task ends, which is a fault.
        """
        start = time.monotonic()
        settle_seconds = min(SETTLE_SECONDS, self._seconds / 2)
        while (elapsed := time.monotonic() - start) < self._seconds:
            done, _ = await asyncio.wait(
                tasks, timeout=min(REPORT_SECONDS, self._seconds - elapsed), return_when=asyncio.FIRST_COMPLETED
            )
            self._report(time.monotonic() - start, settle_seconds)
            if done:
                self._record_errors([task.exception() for task in done])
                return
        await self._eventually(lambda: all(check.received for check in self.checks))

    def _record_errors(self, outcomes: list[BaseException | None]) -> None:
        self.faults += [f"{type(error).__name__}: {error}" for error in outcomes if error is not None]

    def _report(self, elapsed: float, settle_seconds: float) -> None:
        memory, cpu = self._process.memory_info().rss, self._process.cpu_percent()
        self._memory_samples.append(memory)
        if elapsed >= settle_seconds:
            typical = median(self._memory_samples)
            self._memory_limit = self._memory_limit or typical * _MAX_GROWTH
            if typical > self._memory_limit:
                self.faults.append(f"memory is at {typical / 2**20:.1f} MiB after {elapsed:.0f} s")
        delays = sorted(self._delays)
        self._delays.clear()
        p99 = delays[len(delays) * 99 // 100] * 1000 if delays else 0.0
        print(
            f"soak: {elapsed:5.0f} s  {memory / 2**20:6.1f} MiB  {cpu:3.0f} % of a core  "
            f"{self._process.num_fds():4} descriptors  p99 {p99:6.1f} ms  "
            f"{sum(check.received for check in self.checks):8} received  {self.reconnects:6} reconnects  "
            f"{sum(check.gaps for check in self.checks)} gaps  {len(self.faults)} faults",
            flush=True,
        )

    async def _eventually(self, condition: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + _GRACE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    def _check_daemon(self) -> None:
        """Check that the daemon still works and has no connection or internal error left over."""
        daemon = self._daemon
        try:
            daemon.assert_healthy()
            with daemon.lines() as lines:
                lines.command(b"SUB afterwards")
                daemon.publish("afterwards", b"still here")
                assert lines.reply().endswith(b" still here"), "a publish was not delivered"
            for transport in ("sse", "stream", "mixed", "longpoll", "websocket", "tcp"):
                series = f'pushd_connections{{transport="{transport}"}}'
                deadline = time.monotonic() + _GRACE_SECONDS
                while count := daemon.counter(series):
                    assert time.monotonic() < deadline, f"{series} is still {count:.0f}"
            assert not daemon.counter('pushd_refusals_total{code="internal"}'), "there was an internal error"
        except AssertionError as error:
            self.faults.append(str(error))
