"""What a publish costs that nobody hears."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench.cases.interface import Case, Column, Scale
from bench.testbed import Crew, Station


class _Way(NamedTuple):
    peer: str
    technique: str
    way: str
    """As the peer calls it."""
    connections: int
    window: int
    """What may wait for its answer on each connection."""
    times: int


_WAYS = (
    _Way("pushd", "HTTP POST", "POST", 32, 1, 3000),
    _Way("pushd", "NDJSON batch", "batch", 1, 2, 40),
    _Way("pushd", "TCP PUB", "", 1, 1000, 40_000),
    _Way("nchan", "HTTP POST", "", 32, 1, 10_000),
    _Way("nats", "PUB", "many", 1, 2, 200),
    _Way("redis", "PUBLISH", "", 1, 1000, 100_000),
)


class Publish(Case):
    """The cost of a publish."""

    name = "publish"
    title = "A publish without subscribers"
    about = (
        "Messages of 100 bytes. HTTP POST: 32 kept connections, each of which sends the next request when it has its"
        " answer. NDJSON batch: a thousand lines in a POST, two POSTs on their way. TCP PUB and PUBLISH: one connection"
        " with a thousand messages on their way. PUB: one connection, a ping after each thousand."
    )
    columns: Sequence[Column] = (
        Column("micros", "CPU µs per message", 1),
        Column("per_cpu", "messages per CPU second", 0),
        Column("rate", "messages per second", 0),
    )
    group = "publish"
    seconds = 40

    def crews(self, scale: Scale) -> Sequence[Crew]:
        """See `Case`."""
        return [Crew(each.peer, each.technique) for each in _WAYS]

    def measure(self, station: Station, scale: Scale) -> Mapping[str, float]:
        """See `Case`."""
        crew = station.crew
        way = next(each for each in _WAYS if (each.peer, each.technique) == (crew.peer, crew.technique))
        telling = station.tell(way.way, connections=way.connections)
        station.rest()
        times = scale.times(way.times)
        sample = station.pump(times, way.window, telling.answers)
        messages = times * telling.messages
        cpu = max(sample.cpu, 1e-9)
        return {"micros": 1e6 * cpu / messages, "per_cpu": messages / cpu, "rate": messages / sample.seen["seconds"]}
