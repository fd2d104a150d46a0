"""The goals, and whether they are met."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.cases.fan_out import CHANNELS, MATCHING, ONE_CHANNEL, PATTERNS, ResponseTime
from bench.cases.stalled import ALONE, AMONG
from bench.figures import Figures

_TRANSPORTS = ("SSE", "WebSocket", "TCP", "NDJSON")
_NCHAN_TRANSPORTS = ("SSE", "WebSocket")
_LOOP = "C loop"
_RESPONSE_MS = 50
_QUEUE_MIB = 1
_IDLE_KIB = {"SSE": 3, "NDJSON": 3, "WebSocket": 8, "TCP": 2, "long-poll": 6}
_HANDSHAKE_MICROS = {"SSE": 200, "WebSocket": 350}


@dataclass(frozen=True)
class Goal:
    """A measured figure and its limit."""

    case: str
    what: str
    measured: float
    limit: float
    is_maximum: bool = True
    """Whether the limit is a maximum; else it is a minimum."""
    digits: int = 2

    @property
    def is_met(self) -> bool:
        """Whether the figure is within the limit."""
        return self.measured <= self.limit if self.is_maximum else self.measured >= self.limit

    @property
    def expected(self) -> str:
        """The limit as text."""
        return f"at {'most' if self.is_maximum else 'least'} {self.limit:,.{self.digits}f}"


def goals(figures: Figures) -> list[Goal]:
    """Return all goals for which there are figures."""
    return [goal for goals_of in _GOALS for goal in goals_of(figures)]


def _one(figures: Figures) -> Iterator[Goal]:
    for key, pace in (("paced", "25 per second"), ("back_to_back", "back to back")):
        for transport in _TRANSPORTS:
            row = f"pushd {transport}"
            if (ratio := figures.quotient("one", key, row, _LOOP)) is not None:
                yield Goal("one", f"{row}, {pace}: CPU per delivery, of the C loop's", ratio, 1.25)
        for transport in _NCHAN_TRANSPORTS:
            row = f"pushd {transport}"
            if (ratio := figures.quotient("one", key, row, f"nchan {transport}")) is not None:
                yield Goal("one", f"{row}, {pace}: CPU per delivery, of nchan's", ratio, 1)


def _burst(figures: Figures) -> Iterator[Goal]:
    for transport in _TRANSPORTS:
        row = f"pushd {transport}"
        # If nchan lacks the transport, compare with its fastest one.
        others = (
            [f"nchan {transport}"]
            if transport in _NCHAN_TRANSPORTS
            else [f"nchan {each}" for each in _NCHAN_TRANSPORTS]
        )
        ratios = [figures.quotient("burst", "per_cpu", row, other) for other in others]
        known_ratios = [ratio for ratio in ratios if ratio is not None]
        if known_ratios:
            yield Goal(
                "burst",
                f"{row}: deliveries per CPU second, times nchan's",
                min(known_ratios),
                5,
                is_maximum=False,
                digits=1,
            )
        for other in ("NATS", "Redis"):
            if (ratio := figures.quotient("burst", "per_cpu", row, other)) is not None:
                yield Goal("burst", f"{row}: deliveries per CPU second, times {other}'s", ratio, 1, is_maximum=False)


def _latency(figures: Figures) -> Iterator[Goal]:
    for transport in _NCHAN_TRANSPORTS:
        if (ratio := figures.quotient("latency", "p99", f"pushd {transport}", f"nchan {transport}")) is not None:
            yield Goal("latency", f"pushd {transport}: p99, of nchan's", ratio, 1)


def _fan_out(figures: Figures) -> Iterator[Goal]:
    for row, key in (
        (f"pushd TCP, {ONE_CHANNEL}", "micros"),
        (f"pushd SSE, {ONE_CHANNEL}", "micros"),
        (f"pushd TCP, {CHANNELS}", "net"),
        (f"pushd TCP, {PATTERNS}", "net"),
        (f"pushd TCP, {MATCHING}", "micros"),
    ):
        if (ratio := figures.quotient("fan-out", key, row, _LOOP, by_key="micros")) is not None:
            without = ", without publishing" if key == "net" else ""
            yield Goal("fan-out", f"{row}: CPU per delivery{without}, of the C loop's", ratio, 1.3)


def _response_time(figures: Figures) -> Iterator[Goal]:
    for row in figures.rounds.get("response-time", {}):
        for column in ResponseTime.columns:
            if (millis := figures.median("response-time", row, column.key)) is not None:
                yield Goal("response-time", f"{row}: {column.key}, max ms", millis, _RESPONSE_MS, digits=1)


def _idle(figures: Figures) -> Iterator[Goal]:
    for transport, limit in _IDLE_KIB.items():
        if (kib := figures.median("idle", f"pushd {transport}", "kib")) is not None:
            yield Goal("idle", f"pushd {transport}: KiB per idle subscriber", kib, limit)


def _handshake(figures: Figures) -> Iterator[Goal]:
    for transport, limit in _HANDSHAKE_MICROS.items():
        if (micros := figures.median("handshake", f"pushd {transport}", "micros")) is not None:
            yield Goal("handshake", f"pushd {transport}: CPU µs per new subscriber", micros, limit, digits=0)


def _publish(figures: Figures) -> Iterator[Goal]:
    if (micros := figures.median("publish", "pushd HTTP POST", "micros")) is not None:
        yield Goal("publish", "pushd HTTP POST: CPU µs per message", micros, 100, digits=0)
    for variant in ("NDJSON batch", "TCP PUB"):
        if (rate := figures.median("publish", f"pushd {variant}", "per_cpu")) is not None:
            yield Goal(
                "publish", f"pushd {variant}: messages per CPU second", rate, 100_000, is_maximum=False, digits=0
            )


def _stalled(figures: Figures) -> Iterator[Goal]:
    for transport in ("SSE", "TCP"):
        alone, among = f"pushd {transport}, {ALONE}", f"pushd {transport}, {AMONG}"
        if (ratio := figures.quotient("stalled", "p99", among, alone)) is not None:
            yield Goal("stalled", f"pushd {transport}: p99 of the others, of that without stalled readers", ratio, 1.1)
        if (ratio := figures.quotient("stalled", "rate", among, alone)) is not None:
            what = f"pushd {transport}: publishes per second, of those without stalled readers"
            yield Goal("stalled", what, ratio, 0.9, is_maximum=False)
        grown, usual = figures.median("stalled", among, "mib"), figures.median("stalled", alone, "mib")
        stalled = figures.median("stalled", among, "stalled")
        if grown is not None and usual is not None and stalled:
            what = f"pushd {transport}: MiB grown for {stalled:.0f} stalled readers"
            yield Goal("stalled", what, grown - usual, stalled * _QUEUE_MIB, digits=1)


_GOALS: tuple[Callable[[Figures], Iterator[Goal]], ...] = (
    _one,
    _burst,
    _latency,
    _fan_out,
    _response_time,
    _idle,
    _handshake,
    _publish,
    _stalled,
)
