"""Rounds of the model checker: each has daemons, clients and a seed of its own."""

import asyncio
import random
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tests.model.backends import BACKENDS, Backend
from tests.model.checker import Checker
from tests.model.publishers import Publisher
from tests.model.record import Limits, Record, check_ids
from tests.model.subscribers import Habits, Subscriber

ROUND_SECONDS = 5.0
"""How long clients are at work before a round is settled and checked."""
_CHANNELS = ("m/a", "m/b", "m/c/x", "n/a", "n/b")
_TOPICS = (
    ("m/a",),
    ("n/b",),
    ("m/*",),
    ("**",),
    ("m/**",),
    ("*/a",),
    ("m/a", "n/a"),
    ("m/a", "m/b", "n/b"),
    ("m/*", "m/a"),
    ("n/b", "m/**"),
)
_PUBLISHERS = 3
_SUBSCRIBERS = 8
_FAULT_PAUSE = 0.8
_SHORT_QUEUE = 20


class Setting(NamedTuple):
    """The retention and the queues of a round."""

    options: tuple[str, ...]
    limits: Limits
    large_share: float
    """The share of large messages, with which queues of subscribers become full."""


class Round:
    """One round. Afterwards `record` has everything that happened, and the faults that were found.

    :param seed: decides what clients do and which faults are injected, but not how these interleave.
    """

    def __init__(self, backend: str, seed: int, seconds: float = ROUND_SECONDS) -> None:
        self.backend = backend
        self.seed = seed
        self.setting = _setting(backend, random.Random(f"{seed}/setting"))
        self.record = Record(self.setting.limits)
        self.subscribers: list[Subscriber] = []
        self._seconds = seconds

    async def run(self, directory: Path) -> None:
        """Run the round and check it."""
        self.record.note(f"{self.backend}, seed {self.seed}, {' '.join(self.setting.options)}")
        rng = random.Random(f"{self.seed}/backend")
        backend = BACKENDS[self.backend](directory, self.setting.options, self.record, rng)
        try:
            await backend.start()
            await self._work(backend)
        finally:
            await backend.stop()
        self.check()

    def check(self) -> None:
        """Check everything that was received."""
        check_ids(self.record)
        for subscriber in self.subscribers:
            for trace in subscriber.traces:
                Checker(self.record, trace).check()

    async def _work(self, backend: Backend) -> None:
        nodes, record = backend.nodes, self.record
        publishers = [
            Publisher(
                f"p{number}", record, nodes, _CHANNELS, self._random(f"publisher {number}"), self.setting.large_share
            )
            for number in range(_PUBLISHERS)
        ]
        for number in range(_SUBSCRIBERS):
            rng = self._random(f"subscriber {number}")
            habits = Habits(rng.choice(_TOPICS), is_slow=rng.random() < 0.5)
            self.subscribers.append(Subscriber(f"s{number}", record, nodes, habits, rng))
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for publisher in publishers:
                group.create_task(publisher.run(stop))
            for subscriber in self.subscribers:
                group.create_task(subscriber.run(stop))
            await self._inject_faults(backend)
            stop.set()
        await backend.heal()
        audit = Subscriber("audit", record, nodes, Habits(("**",), is_slow=False), self._random("audit"))
        audit.begin("all")
        self.subscribers.append(audit)
        last = [await publishers[0].publish_last(channel) for channel in _CHANNELS]
        async with asyncio.TaskGroup() as group:
            for subscriber in self.subscribers:
                group.create_task(subscriber.settle(last))

    async def _inject_faults(self, backend: Backend) -> None:
        """Inject faults until the time is over."""
        rng, end = self._random("faults"), time.monotonic() + self._seconds
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 2 * _FAULT_PAUSE * rng.random()))
            if time.monotonic() < end:
                await backend.inject_fault()

    def _random(self, name: str) -> random.Random:
        return random.Random(f"{self.seed}/{name}")


class Run:
    """Rounds until the time is over, or until a fault is found."""

    def __init__(self, backends: list[str], seconds: float, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self.rounds = 0
        self.failed: Round | None = None
        self.last: Round | None = None
        self._backends = backends
        self._seconds = seconds
        self._seed = seed

    def run(self) -> bool:
        """Run the rounds, with a seed that increases by one; return whether all were without a fault."""
        start = time.monotonic()
        while self.failed is None and (not self.rounds or time.monotonic() - start < self._seconds):
            backend = self._backends[self.rounds % len(self._backends)]
            self._run_round(backend, self._seed + self.rounds // len(self._backends))
        return self.failed is None

    def _run_round(self, backend: str, seed: int) -> None:
        round = Round(backend, seed)
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as directory:
            try:
                asyncio.run(round.run(Path(directory)))
            except Exception as error:
                traceback.print_exception(error)
                round.record.fault(f"the round was not completed: {error!r}")
        self.rounds += 1
        self.last = round
        self.counts += round.record.counts
        self.failed = round if round.record.faults else None
        counts = round.record.counts
        print(
            f"model: {backend} seed {seed}: {counts['acknowledged']} acknowledged, {counts['received']} received, "
            f"{counts['connections']} connections, {len(round.record.faults)} faults, {time.monotonic() - start:.0f} s",
            flush=True,
        )


def _setting(backend: str, rng: random.Random) -> Setting:
    messages = rng.choice((3, 20, 1000))
    age, total = rng.choice((None, None, None, 2)), rng.choice((None, None, None, 64))
    queue = rng.choice(((_SHORT_QUEUE, "16KiB"), (1000, "1MiB")))
    options = [
        *("--history-messages", str(messages)),
        *("--limits-queue-messages", str(queue[0]), "--limits-queue-bytes", queue[1]),
        *("--stop-patience", "1s"),
        *(("--history-age", f"{age}s") if age else ()),
        *(("--history-total-bytes", f"{total}KiB") if total else ()),
    ]
    limits = Limits(
        messages,
        expires=age is not None,
        evicts=total is not None,
        keys_survive_restart=backend in ("redis", "sentinel"),
    )
    return Setting(tuple(options), limits, 0.5 if queue[0] == _SHORT_QUEUE else 0.02)
