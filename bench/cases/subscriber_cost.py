"""The cost of a new subscriber, and of an idle one."""

from collections.abc import Mapping, Sequence

from bench.cases.interface import Case, Column, Scale
from bench.testbed import Scenario, Testbed

_SUBJECTS = (
    ("pushd", "SSE"),
    ("pushd", "NDJSON"),
    ("pushd", "WebSocket"),
    ("pushd", "TCP"),
    ("nchan", "SSE"),
    ("nchan", "WebSocket"),
    ("nats", "NATS"),
    ("redis", "Redis"),
)


class Handshake(Case):
    """The cost of a new subscriber."""

    name = "handshake"
    title = "A new subscriber"
    about = (
        "Clients subscribe, at most 64 at a time, each on its own connection. CPU is that of the server until it is"
        " idle again."
    )
    columns: Sequence[Column] = (Column("micros", "CPU µs per subscriber", 0),)
    group = "handshake"
    seconds = 35

    def scenarios(self, scale: Scale) -> Sequence[Scenario]:
        """See `Case`."""
        return [Scenario(peer, transport) for peer, transport in _SUBJECTS]

    def measure(self, testbed: Testbed, scale: Scale) -> Mapping[str, float]:
        """See `Case`."""
        return {"micros": 1e6 * testbed.handshakes(scale.subscribers) / scale.subscribers}


class Idle(Case):
    """The memory of an idle subscriber."""

    name = "idle"
    title = "An idle subscriber"
    about = (
        "Resident memory of the server with many subscribers, minus that before the first one connected. Memory of the"
        " kernel, which is the same for all servers, is not included."
    )
    columns: Sequence[Column] = (Column("kib", "KiB per subscriber", 2),)
    group = ""
    seconds = 50
    max_rounds = 1

    def scenarios(self, scale: Scale) -> Sequence[Scenario]:
        """See `Case`."""
        subjects = (*_SUBJECTS[:4], ("pushd", "long-poll"), *_SUBJECTS[4:])
        return [Scenario(peer, transport, scale.many_subscribers) for peer, transport in subjects]

    def measure(self, testbed: Testbed, scale: Scale) -> Mapping[str, float]:
        """See `Case`."""
        return {"kib": (testbed.memory_after - testbed.memory_before) / 1024 / testbed.scenario.subscribers}
