"""A station: a running server and the load that is connected to it, with measurements of the one by the other."""

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import load
from bench.cpu import Place
from bench.load_client import Load
from bench.peers import PEERS
from bench.peers.interface import CHANNEL, Server
from bench.programs import CannotRun
from bench.scripts import Asking, Telling

_CALM_TURN = 0.1
_CALM_SHARE = 0.02
_CALM_SECONDS = 5.0
FAULTS = ("lost", "duplicated", "disordered", "misrouted", "late", "closed")
"""What must not be: deliveries that did not come, came again, in the wrong order, to the wrong one, or in a later
run; and connections that were cut."""


@dataclass(frozen=True)
class Crew:
    """Who is connected to which server, and how."""

    peer: str
    technique: str
    subscribers: int = 0
    stalled: int = 0
    """How many more never read."""
    channels: int = 1
    topic: str = CHANNEL
    """What they subscribe to, and below where is published: templates, as in `bench.scripts`."""
    channel: str = CHANNEL
    size: int = 100
    """The bytes of a message."""
    note: str = ""
    """What distinguishes it from others of the same peer and technique."""

    @property
    def label(self) -> str:
        """The name of its row in a table."""
        name = PEERS[self.peer].name
        both = name if name == self.technique else f"{name} {self.technique}"
        return f"{both}, {self.note}" if self.note else both


@dataclass(frozen=True)
class Sample:
    """What a measurement gave."""

    seen: dict[str, Any]
    """What the load client saw."""
    cpu: float
    """Seconds of CPU time that the server took."""

    @property
    def delivered(self) -> int:
        """How many deliveries arrived; at least one, for the sake of quotients."""
        return max(1, int(self.seen["delivered"]))

    @property
    def micros(self) -> float:
        """CPU time of the server for each delivery, in microseconds."""
        return 1e6 * self.cpu / self.delivered

    def millis(self, which: str, of: str = "latency") -> float:
        """Give the p50, p99 or max of the times that deliveries took, or that the `probe` had to wait, in milliseconds.

        :raises CannotRun: there was none.
        """
        times = self.seen[of]
        if times is None:
            raise CannotRun(f"there is no {of} where nothing came")
        return float(times[which]) / 1e3


@dataclass
class Station:
    """A server and its load."""

    crew: Crew
    server: Server
    driver: Load
    empty: int
    """What the server held before anyone came, in bytes."""
    full: int = 0
    """What it held when all had come."""
    deliveries: int = 0
    """How many there were in all runs so far, and below what was wrong with them."""
    faults: dict[str, int] = field(default_factory=dict)

    def gather(self) -> None:
        """Let the whole crew come, and a connection to publish by."""
        crew = self.crew
        if crew.subscribers:
            self._hear(stalled=False)
            self.driver.open(crew.subscribers)
        if crew.stalled:
            self._hear(stalled=True)
            self.driver.open(crew.stalled)
        self.tell()
        self.rest()
        self.full = self.server.memory()

    def tell(self, way: str = "", *, connections: int = 1, channel: str = "") -> Telling:
        """Publish by one of the peer's ways, the first if none is named, from now on."""
        crew = self.crew
        telling = PEERS[crew.peer].telling(self.server, crew.size, channel or crew.channel, way)
        self.driver.tell_by(telling, size=crew.size, connections=connections)
        return telling

    def ask(self, asking: Asking) -> None:
        """Have another client that asks again and again while runs go on."""
        self.driver.ask_by(asking)

    def ask_no_more(self) -> None:
        """Let that client go."""
        self.driver.ask_no_more()

    def handshakes(self, count: int) -> float:
        """Let so many subscribers come and go; give the CPU seconds that their coming took."""
        self._hear(stalled=False)
        before = self.rest()
        self.driver.open(count)
        after = self.rest()
        self.driver.close()
        self.rest()
        return after - before

    def run(self, times: int, burst: int = 1, rate: float = 0.0, deadline: float = 20.0) -> Sample:
        """Publish, see what arrives, and note what is wrong with it; see `Load.run`."""
        before = self.server.cpu_seconds()
        seen = self.driver.run(times, burst, rate, deadline)
        sample = Sample(seen, self.server.cpu_seconds() - before)
        self.deliveries += int(seen["delivered"])
        for fault in FAULTS:
            self.faults[fault] = self.faults.get(fault, 0) + int(seen[fault])
        if not seen["messages"]:
            raise CannotRun("the server has closed the connection of the publisher")
        return sample

    def pump(self, times: int, window: int, answers: int = 1, deadline: float = 20.0) -> Sample:
        """Publish without heeding subscribers; see `Load.pump`."""
        before = self.server.cpu_seconds()
        seen = self.driver.pump(times, window, answers, deadline)
        sample = Sample(seen, self.server.cpu_seconds() - before)
        unanswered = times * answers - int(seen["answers"])
        self.faults["unanswered"] = self.faults.get("unanswered", 0) + unanswered
        return sample

    def rest(self) -> float:
        """Wait until the server rests; give the CPU seconds it has taken so far."""
        deadline = time.monotonic() + _CALM_SECONDS
        before = self.server.cpu_seconds()
        while time.monotonic() < deadline:
            time.sleep(_CALM_TURN)
            now = self.server.cpu_seconds()
            if now - before < _CALM_SHARE * _CALM_TURN:
                return now
            before = now
        return before

    def _hear(self, *, stalled: bool) -> None:
        crew = self.crew
        hearing = PEERS[crew.peer].hearing(self.server, crew.technique, crew.topic)
        self.driver.hear_by(hearing, channels=crew.channels, stalled=stalled)


def open_station(stack: ExitStack, crew: Crew, program: Path, directory: Path, place: Place) -> Station:
    """Start a server and a load client, which the stack ends, and let the crew come.

    :raises CannotRun: one of them does not do its part.
    """
    directory.mkdir(parents=True)
    server = PEERS[crew.peer].start(stack, directory, place.server)
    client = stack.enter_context(load.start(program, directory / "load", place.load))
    station = Station(crew, server, Load(client), server.memory())
    station.gather()
    return station
