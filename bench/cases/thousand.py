"""Cost and latency of a delivery to a thousand subscribers of one channel."""

from collections.abc import Mapping, Sequence

from bench.cases.interface import Case, Column, Scale
from bench.testbed import Scenario, Testbed

_GROUP = "thousand"
_SUBJECTS = (
    ("pushd", "SSE"),
    ("pushd", "WebSocket"),
    ("pushd", "TCP"),
    ("pushd", "NDJSON"),
    ("nchan", "SSE"),
    ("nchan", "WebSocket"),
    ("nats", "NATS"),
    ("redis", "Redis"),
)
_LOOPS = (("c", "loop"), ("python", "loop"))


def _scenarios(subjects: Sequence[tuple[str, str]], scale: Scale) -> list[Scenario]:
    return [Scenario(peer, transport, scale.subscribers) for peer, transport in subjects]


class One(Case):
    """One message at a time."""

    name = "one"
    title = "One message at a time"
    about = (
        "Messages of 100 bytes, first 25 per second, between which the server is idle, then each published when the"
        " previous one has reached all subscribers. CPU is that of the server, publishing included."
    )
    columns: Sequence[Column] = (
        Column("paced", "CPU µs per delivery, 25 per second", 2),
        Column("back_to_back", "back to back", 2),
        Column("rate", "deliveries per second", 0),
    )
    group = _GROUP
    seconds = 75
    _RATE = 25

    def scenarios(self, scale: Scale) -> Sequence[Scenario]:
        """See `Case`."""
        return _scenarios((*_SUBJECTS, *_LOOPS), scale)

    def measure(self, testbed: Testbed, scale: Scale) -> Mapping[str, float]:
        """See `Case`."""
        paced = testbed.run(scale.times(25), rate=self._RATE)
        back_to_back = testbed.run(scale.times(50))
        rate = back_to_back.delivered / back_to_back.result["seconds"]
        return {"paced": paced.microseconds, "back_to_back": back_to_back.microseconds, "rate": rate}


class Burst(Case):
    """A hundred messages at once."""

    name = "burst"
    title = "Bursts of a hundred messages"
    about = (
        "A hundred messages of 100 bytes are published at once (pipelined on one connection: lines to pushd, POSTs to"
        " nchan, commands to NATS and Redis), and the next hundred when all have arrived everywhere."
    )
    columns: Sequence[Column] = (
        Column("per_cpu", "deliveries per CPU second", 0),
        Column("micros", "CPU µs per delivery", 2),
        Column("rate", "deliveries per second", 0),
    )
    group = _GROUP
    seconds = 45
    _LEAST_SECONDS = 0.4

    def scenarios(self, scale: Scale) -> Sequence[Scenario]:
        """See `Case`."""
        return _scenarios((*_SUBJECTS, *_LOOPS), scale)

    def measure(self, testbed: Testbed, scale: Scale) -> Mapping[str, float]:
        """See `Case`."""
        delivered, cpu, seconds = 0, 0.0, 0.0
        while seconds < self._LEAST_SECONDS * scale.effort:  # one burst may be too short to measure
            sample = testbed.run(1, burst=100)
            delivered += sample.delivered
            cpu += sample.cpu
            seconds += sample.result["seconds"]
        cpu = max(cpu, 1e-9)
        return {"per_cpu": delivered / cpu, "micros": 1e6 * cpu / delivered, "rate": delivered / seconds}


class Latency(Case):
    """The latency of a delivery."""

    name = "latency"
    title = "Latency at 100 messages per second"
    about = (
        "From the time at which a message is due to the time at which the load client has read it, over all deliveries."
    )
    columns: Sequence[Column] = (
        Column("p50", "p50 ms", 2),
        Column("p99", "p99 ms", 2),
        Column("max", "max ms", 2),
        Column("busy", "server CPU %", 0),
    )
    group = _GROUP
    seconds = 50
    _RATE = 100

    def scenarios(self, scale: Scale) -> Sequence[Scenario]:
        """See `Case`."""
        return _scenarios(_SUBJECTS, scale)

    def measure(self, testbed: Testbed, scale: Scale) -> Mapping[str, float]:
        """See `Case`."""
        sample = testbed.run(scale.times(120), rate=self._RATE)
        busy = 100 * sample.cpu / sample.result["seconds"]
        return {"busy": busy} | {which: sample.milliseconds(which) for which in ("p50", "p99", "max")}
