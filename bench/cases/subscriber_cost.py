"""What a subscriber costs that comes, and one that only waits."""

from collections.abc import Mapping, Sequence

from bench.cases.interface import Case, Column, Scale
from bench.testbed import Crew, Station

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
    """A subscriber that comes."""

    name = "handshake"
    title = "A new subscriber"
    about = (
        "Subscribers come, at most 64 at a time, each on a connection of its own. CPU is that of the server"
        " until it rests again."
    )
    columns: Sequence[Column] = (Column("micros", "CPU µs per subscriber", 0),)
    group = "handshake"
    seconds = 35

    def crews(self, scale: Scale) -> Sequence[Crew]:
        """See `Case`."""
        return [Crew(peer, technique) for peer, technique in _SUBJECTS]

    def measure(self, station: Station, scale: Scale) -> Mapping[str, float]:
        """See `Case`."""
        return {"micros": 1e6 * station.handshakes(scale.many) / scale.many}


class Idle(Case):
    """A subscriber that waits."""

    name = "idle"
    title = "An idle subscriber"
    about = (
        "Resident memory of the server with a crowd of subscribers, less that of the same server before the first one"
        " came. Memory of the kernel, which is the same for all, is not in it."
    )
    columns: Sequence[Column] = (Column("kib", "KiB per subscriber", 2),)
    group = ""
    seconds = 50
    most_rounds = 1

    def crews(self, scale: Scale) -> Sequence[Crew]:
        """See `Case`."""
        subjects = (*_SUBJECTS[:4], ("pushd", "long-poll"), *_SUBJECTS[4:])
        return [Crew(peer, technique, scale.crowd) for peer, technique in subjects]

    def measure(self, station: Station, scale: Scale) -> Mapping[str, float]:
        """See `Case`."""
        return {"kib": (station.full - station.empty) / 1024 / station.crew.subscribers}
