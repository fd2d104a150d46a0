"""The goals, and how far each is reached."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.cases.crowd import CHANNELS, MATCHING, ONE_CHANNEL, PATTERNS, Alive
from bench.cases.stalled import ALONE, AMONG
from bench.figures import Figures

_TECHNIQUES = ("SSE", "WebSocket", "TCP", "NDJSON")
_OF_NCHAN = ("SSE", "WebSocket")
_LOOP = "C loop"
_ALIVE_MS = 50
_QUEUE_MIB = 1
_IDLE_KIB = {"SSE": 3, "NDJSON": 3, "WebSocket": 8, "TCP": 2, "long-poll": 6}
_HANDSHAKE_MICROS = {"SSE": 200, "WebSocket": 350}


@dataclass(frozen=True)
class Goal:
    """A figure that was measured, beside what it should be."""

    case: str
    what: str
    reached: float
    limit: float
    most: bool = True
    """Whether the limit is the most that it may be, or the least."""
    digits: int = 2

    @property
    def is_met(self) -> bool:
        """Whether it is what it should be."""
        return self.reached <= self.limit if self.most else self.reached >= self.limit

    @property
    def wanted(self) -> str:
        """The limit in words."""
        return f"at {'most' if self.most else 'least'} {self.limit:,.{self.digits}f}"


def goals(figures: Figures) -> list[Goal]:
    """Judge all that was measured."""
    return [goal for judge in _JUDGES for goal in judge(figures)]


def _one(figures: Figures) -> Iterator[Goal]:
    for key, pace in (("paced", "25 a second"), ("hasty", "one after the other")):
        for technique in _TECHNIQUES:
            row = f"pushd {technique}"
            if (share := figures.quotient("one", key, row, _LOOP)) is not None:
                yield Goal("one", f"{row}, {pace}: CPU per delivery, of the C loop's", share, 1.25)
        for technique in _OF_NCHAN:
            row = f"pushd {technique}"
            if (share := figures.quotient("one", key, row, f"nchan {technique}")) is not None:
                yield Goal("one", f"{row}, {pace}: CPU per delivery, of nchan's", share, 1)


def _burst(figures: Figures) -> Iterator[Goal]:
    for technique in _TECHNIQUES:
        row = f"pushd {technique}"
        # Where nchan has no such technique, its quickest stands for it.
        others = [f"nchan {technique}"] if technique in _OF_NCHAN else [f"nchan {each}" for each in _OF_NCHAN]
        ratios = [figures.quotient("burst", "per_cpu", row, other) for other in others]
        known = [ratio for ratio in ratios if ratio is not None]
        if known:
            yield Goal("burst", f"{row}: deliveries per CPU second, times nchan's", min(known), 5, most=False, digits=1)
        for other in ("NATS", "Redis"):
            if (ratio := figures.quotient("burst", "per_cpu", row, other)) is not None:
                yield Goal("burst", f"{row}: deliveries per CPU second, times {other}'s", ratio, 1, most=False)


def _latency(figures: Figures) -> Iterator[Goal]:
    for technique in _OF_NCHAN:
        if (share := figures.quotient("latency", "p99", f"pushd {technique}", f"nchan {technique}")) is not None:
            yield Goal("latency", f"pushd {technique}: p99, of nchan's", share, 1)


def _crowd(figures: Figures) -> Iterator[Goal]:
    for row, key in (
        (f"pushd TCP, {ONE_CHANNEL}", "micros"),
        (f"pushd SSE, {ONE_CHANNEL}", "micros"),
        (f"pushd TCP, {CHANNELS}", "net"),
        (f"pushd TCP, {PATTERNS}", "net"),
        (f"pushd TCP, {MATCHING}", "micros"),
    ):
        if (share := figures.quotient("crowd", key, row, _LOOP, by_key="micros")) is not None:
            without = ", without publishing" if key == "net" else ""
            yield Goal("crowd", f"{row}: CPU per delivery{without}, of the C loop's", share, 1.3)


def _alive(figures: Figures) -> Iterator[Goal]:
    for row in figures.rounds.get("alive", {}):
        for column in Alive.columns:
            if (millis := figures.median("alive", row, column.key)) is not None:
                yield Goal("alive", f"{row}: {column.key}, max ms", millis, _ALIVE_MS, digits=1)


def _idle(figures: Figures) -> Iterator[Goal]:
    for technique, limit in _IDLE_KIB.items():
        if (kib := figures.median("idle", f"pushd {technique}", "kib")) is not None:
            yield Goal("idle", f"pushd {technique}: KiB per idle subscriber", kib, limit)


def _handshake(figures: Figures) -> Iterator[Goal]:
    for technique, limit in _HANDSHAKE_MICROS.items():
        if (micros := figures.median("handshake", f"pushd {technique}", "micros")) is not None:
            yield Goal("handshake", f"pushd {technique}: CPU µs per new subscriber", micros, limit, digits=0)


def _publish(figures: Figures) -> Iterator[Goal]:
    if (micros := figures.median("publish", "pushd HTTP POST", "micros")) is not None:
        yield Goal("publish", "pushd HTTP POST: CPU µs per message", micros, 100, digits=0)
    for way in ("NDJSON batch", "TCP PUB"):
        if (rate := figures.median("publish", f"pushd {way}", "per_cpu")) is not None:
            yield Goal("publish", f"pushd {way}: messages per CPU second", rate, 100_000, most=False, digits=0)


def _stalled(figures: Figures) -> Iterator[Goal]:
    for technique in ("SSE", "TCP"):
        alone, among = f"pushd {technique}, {ALONE}", f"pushd {technique}, {AMONG}"
        if (share := figures.quotient("stalled", "p99", among, alone)) is not None:
            yield Goal("stalled", f"pushd {technique}: p99 of the others, of that without stalled readers", share, 1.1)
        if (share := figures.quotient("stalled", "rate", among, alone)) is not None:
            what = f"pushd {technique}: publishes per second, of those without stalled readers"
            yield Goal("stalled", what, share, 0.9, most=False)
        grown, usual = figures.median("stalled", among, "mib"), figures.median("stalled", alone, "mib")
        stalled = figures.median("stalled", among, "stalled")
        if grown is not None and usual is not None and stalled:
            what = f"pushd {technique}: MiB grown for {stalled:.0f} stalled readers"
            yield Goal("stalled", what, grown - usual, stalled * _QUEUE_MIB, digits=1)


_JUDGES: tuple[Callable[[Figures], Iterator[Goal]], ...] = (
    _one,
    _burst,
    _latency,
    _crowd,
    _alive,
    _idle,
    _handshake,
    _publish,
    _stalled,
)
