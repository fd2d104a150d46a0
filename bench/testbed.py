"""A testbed: a running server and the load client that is connected to it."""

import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import load_client
from bench.cpu import CpuPlacement
from bench.load_client import LoadClient
from bench.peers import PEERS
from bench.peers.interface import CHANNEL, Server
from bench.programs import CannotRun
from bench.scripts import ProbeScript, PublishScript

_IDLE_CHECK_SECONDS = 0.1
_IDLE_CPU_SHARE = 0.02
_MAX_IDLE_WAIT_SECONDS = 5.0
FAULTS = ("lost", "duplicated", "disordered", "misrouted", "late", "closed")
"""Faults: deliveries that were lost, duplicated, out of order, to the wrong subscriber, or in a later run; and closed
connections."""


@dataclass(frozen=True)
class Scenario:
    """A server, and the number and kind of its subscribers: one row of a table."""

    peer: str
    transport: str
    subscribers: int = 0
    stalled: int = 0
    """Number of additional subscribers that never read."""
    channels: int = 1
    topic: str = CHANNEL
    """Topic of the subscribers; `channel` is that of the publisher. Both are templates as in `bench.scripts`."""
    channel: str = CHANNEL
    size: int = 100
    """Message size in bytes."""
    note: str = ""
    """Distinguishes scenarios of the same peer and transport."""

    @property
    def label(self) -> str:
        """Name of the row in a table."""
        name = PEERS[self.peer].name
        both = name if name == self.transport else f"{name} {self.transport}"
        return f"{both}, {self.note}" if self.note else both


@dataclass(frozen=True)
class Sample:
    """The result of a measurement."""

    result: dict[str, Any]
    """Response of the load client."""
    cpu: float
    """CPU time of the server in seconds."""

    @property
    def delivered(self) -> int:
        """Number of deliveries that arrived; at least 1, so that it can be divided by."""
        return max(1, int(self.result["delivered"]))

    @property
    def microseconds(self) -> float:
        """CPU time of the server per delivery in microseconds."""
        return 1e6 * self.cpu / self.delivered

    def milliseconds(self, which: str, of: str = "latency") -> float:
        """Return p50, p99 or max of the latency of deliveries, or of the `probe`, in milliseconds.

        :raises CannotRun: when nothing arrived.
        """
        times = self.result[of]
        if times is None:
            raise CannotRun(f"no {of} was measured, because nothing arrived")
        return float(times[which]) / 1e3


@dataclass
class Testbed:
    """A server and its load client."""

    scenario: Scenario
    server: Server
    driver: LoadClient
    memory_before: int
    """Memory of the server before the first connection in bytes."""
    memory_after: int = 0
    """Memory of the server after all have connected in bytes."""
    deliveries: int = 0
    """Number of deliveries in all runs so far; `faults` counts what was wrong with them."""
    faults: dict[str, int] = field(default_factory=dict)

    def connect_all(self) -> None:
        """Connect all subscribers and the publisher."""
        scenario = self.scenario
        if scenario.subscribers:
            self._set_subscribe_script(stalled=False)
            self.driver.open(scenario.subscribers)
        if scenario.stalled:
            self._set_subscribe_script(stalled=True)
            self.driver.open(scenario.stalled)
        self.publish_by()
        self.wait_until_idle()
        self.memory_after = self.server.memory()

    def publish_by(self, variant: str = "", *, connections: int = 1, channel: str = "") -> PublishScript:
        """Publish by a variant of the peer, by default the first, from now on."""
        scenario = self.scenario
        publish_script = PEERS[scenario.peer].publish_script(
            self.server, scenario.size, channel or scenario.channel, variant
        )
        self.driver.set_publish_script(publish_script, size=scenario.size, connections=connections)
        return publish_script

    def start_probe(self, probe_script: ProbeScript) -> None:
        """Start a probe that sends requests during the following runs."""
        self.driver.start_probe(probe_script)

    def stop_probe(self) -> None:
        """Stop the probe."""
        self.driver.stop_probe()

    def handshakes(self, count: int) -> float:
        """Connect and disconnect this many subscribers; return the CPU seconds of connecting."""
        self._set_subscribe_script(stalled=False)
        before = self.wait_until_idle()
        self.driver.open(count)
        after = self.wait_until_idle()
        self.driver.close()
        self.wait_until_idle()
        return after - before

    def run(self, times: int, burst: int = 1, rate: float = 0.0, deadline: float = 20.0) -> Sample:
        """Publish, and record the deliveries and their faults; see `LoadClient.run`."""
        before = self.server.cpu_seconds()
        result = self.driver.run(times, burst, rate, deadline)
        sample = Sample(result, self.server.cpu_seconds() - before)
        self.deliveries += int(result["delivered"])
        for fault in FAULTS:
            self.faults[fault] = self.faults.get(fault, 0) + int(result[fault])
        if not result["messages"]:
            raise CannotRun("the server has closed the connection of the publisher")
        return sample

    def pump(self, times: int, window: int, answers: int = 1, deadline: float = 20.0) -> Sample:
        """Publish regardless of subscribers; see `LoadClient.pump`."""
        before = self.server.cpu_seconds()
        result = self.driver.pump(times, window, answers, deadline)
        sample = Sample(result, self.server.cpu_seconds() - before)
        unanswered = times * answers - int(result["answers"])
        self.faults["unanswered"] = self.faults.get("unanswered", 0) + unanswered
        return sample

    def wait_until_idle(self) -> float:
        """Wait until the server is idle; return the CPU seconds it has used so far."""
        deadline = time.monotonic() + _MAX_IDLE_WAIT_SECONDS
        before = self.server.cpu_seconds()
        while time.monotonic() < deadline:
            time.sleep(_IDLE_CHECK_SECONDS)
            now = self.server.cpu_seconds()
            if now - before < _IDLE_CPU_SHARE * _IDLE_CHECK_SECONDS:
                return now
            before = now
        return before

    def _set_subscribe_script(self, *, stalled: bool) -> None:
        scenario = self.scenario
        subscribe_script = PEERS[scenario.peer].subscribe_script(self.server, scenario.transport, scenario.topic)
        self.driver.set_subscribe_script(subscribe_script, channels=scenario.channels, stalled=stalled)


def open_testbed(
    stack: ExitStack, scenario: Scenario, program: Path, directory: Path, placement: CpuPlacement
) -> Testbed:
    """Start a server and a load client, which the stack stops, and connect them.

    :raises CannotRun: when either fails.
    """
    directory.mkdir(parents=True)
    server = PEERS[scenario.peer].start(stack, directory, placement.server)
    client = stack.enter_context(load_client.start(program, directory / "load", placement.load))
    testbed = Testbed(scenario, server, LoadClient(client), server.memory())
    testbed.connect_all()
    return testbed
