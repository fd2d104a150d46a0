"""A station: a running server and the load that is connected to it, with measurements of the one by the other."""

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
"""What must not be: deliveries that did not come, came again, in the wrong order, to the wrong one, or in a later
run; and connections that were cut."""


@dataclass(frozen=True)
class Scenario:
    """Who is connected to which server, and how."""

    peer: str
    transport: str
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
        both = name if name == self.transport else f"{name} {self.transport}"
        return f"{both}, {self.note}" if self.note else both


@dataclass(frozen=True)
class Sample:
    """What a measurement gave."""

    result: dict[str, Any]
    """What the load client saw."""
    cpu: float
    """Seconds of CPU time that the server took."""

    @property
    def delivered(self) -> int:
        """How many deliveries arrived; at least one, for the sake of quotients."""
        return max(1, int(self.result["delivered"]))

    @property
    def microseconds(self) -> float:
        """CPU time of the server for each delivery, in microseconds."""
        return 1e6 * self.cpu / self.delivered

    def milliseconds(self, which: str, of: str = "latency") -> float:
        """Give the p50, p99 or max of the times that deliveries took, or that the `probe` had to wait, in milliseconds.

        :raises CannotRun: there was none.
        """
        times = self.result[of]
        if times is None:
            raise CannotRun(f"there is no {of} where nothing came")
        return float(times[which]) / 1e3


@dataclass
class Testbed:
    """A server and its load."""

    scenario: Scenario
    server: Server
    driver: LoadClient
    memory_before: int
    """What the server held before anyone came, in bytes."""
    memory_after: int = 0
    """What it held when all had come."""
    deliveries: int = 0
    """How many there were in all runs so far, and below what was wrong with them."""
    faults: dict[str, int] = field(default_factory=dict)

    def connect_all(self) -> None:
        """Let the whole crew come, and a connection to publish by."""
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
        """Publish by one of the peer's ways, the first if none is named, from now on."""
        scenario = self.scenario
        publish_script = PEERS[scenario.peer].publish_script(
            self.server, scenario.size, channel or scenario.channel, variant
        )
        self.driver.set_publish_script(publish_script, size=scenario.size, connections=connections)
        return publish_script

    def start_probe(self, probe_script: ProbeScript) -> None:
        """Have another client that asks again and again while runs go on."""
        self.driver.start_probe(probe_script)

    def stop_probe(self) -> None:
        """Let that client go."""
        self.driver.stop_probe()

    def handshakes(self, count: int) -> float:
        """Let so many subscribers come and go; give the CPU seconds that their coming took."""
        self._set_subscribe_script(stalled=False)
        before = self.wait_until_idle()
        self.driver.open(count)
        after = self.wait_until_idle()
        self.driver.close()
        self.wait_until_idle()
        return after - before

    def run(self, times: int, burst: int = 1, rate: float = 0.0, deadline: float = 20.0) -> Sample:
        """Publish, see what arrives, and note what is wrong with it; see `Load.run`."""
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
        """Publish without heeding subscribers; see `Load.pump`."""
        before = self.server.cpu_seconds()
        result = self.driver.pump(times, window, answers, deadline)
        sample = Sample(result, self.server.cpu_seconds() - before)
        unanswered = times * answers - int(result["answers"])
        self.faults["unanswered"] = self.faults.get("unanswered", 0) + unanswered
        return sample

    def wait_until_idle(self) -> float:
        """Wait until the server rests; give the CPU seconds it has taken so far."""
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
    """Start a server and a load client, which the stack ends, and let the crew come.

    :raises CannotRun: one of them does not do its part.
    """
    directory.mkdir(parents=True)
    server = PEERS[scenario.peer].start(stack, directory, placement.server)
    client = stack.enter_context(load_client.start(program, directory / "load", placement.load))
    testbed = Testbed(scenario, server, LoadClient(client), server.memory())
    testbed.connect_all()
    return testbed
