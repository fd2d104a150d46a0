"""Plain counters, and their rendering as Prometheus text (exposition format 0.0.4).

On the hot path a counter is one addition to an int; prometheus-client only sees them when somebody asks.
"""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from twisted.logger import Logger

from pushd.backends.interface import Disk, Usage
from pushd.core.errors import Refusal

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Bounds of the buckets: from a message for a few up to a daemon that is badly late."""


_QUIET_SECONDS = 1.0
"""Between two lines about the same limit, so that whoever runs into it over and over does not fill the disk."""


class Durations:
    """How many took how long."""

    def __init__(self) -> None:
        self.counts = [0] * (len(_SECONDS) + 1)
        """By bucket, the last without a bound."""
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(_SECONDS, seconds)] += 1
        self.sum += seconds


class Outflow(NamedTuple):
    """What goes out, at one moment."""

    delivered: int = 0
    """Messages handed to subscribers, times the subscribers."""
    dropped: Mapping[str, int] = {}
    """Messages let go for slow subscribers, by their policy."""
    sent: Mapping[str, list[int]] = {}
    """Messages and bytes sent to all who were ready, times their number, by the form of their wire."""
    queued_bytes: int = 0
    """What waits for slow subscribers, for each of them."""
    waiting_bytes: int = 0
    """What waits in memory in all: for slow subscribers, each message once, and what has not come whole."""
    is_up: bool = True
    """Whether publishes are accepted."""
    subscriptions: Mapping[str, int] = {}
    """Topics that are heard, times those who hear them, by transport."""


class Counters:
    """What happened since the start."""

    log = Logger()

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        """Begin at nothing.

        :param seconds: a clock that never goes back.
        """
        self._seconds = seconds
        self._logged: dict[str, float] = {}
        """When the log last named somebody, by code."""
        self._left_out: Counter[str] = Counter()
        self.published = 0
        self.published_bytes = 0
        self.replayed = 0
        self.gaps: Counter[str] = Counter()
        """By reason."""
        self.refusals: Counter[str] = Counter()
        """By code: every no that a peer was told, whatever the door."""
        self.connections: Counter[str] = Counter()
        """Open now, by transport."""
        self.lagging: Counter[str] = Counter()
        """Subscribers for whom messages began to be let go, by policy."""
        self.disconnects: Counter[str] = Counter()
        """Subscribers given up, by code."""
        self.latency = Durations()
        """From the publish to the socket, for each slice of subscribers."""
        self.lateness = Durations()
        """By how much the reactor is late, each second."""

    def refused(self, refusal: Refusal, peer: str) -> None:
        """Count a refusal; where a limit was passed, let the log name the peer, at most once a second for each code."""
        code = refusal.code
        self.refusals[code] += 1
        if not refusal.is_limit:
            return
        now = self._seconds()
        if now - self._logged.get(code, -_QUIET_SECONDS) < _QUIET_SECONDS:
            self._left_out[code] += 1
            return
        self._logged[code] = now
        left_out = self._left_out.pop(code, 0)
        form = "{peer}: refused, {code}: {why}"
        if left_out:
            form += " ({left_out} more since the last such line)"
        self.log.warn(form, peer=peer, code=code, why=str(refusal), left_out=left_out)


class _Snapshot:
    """Everything at one moment, in the shape that prometheus-client asks for."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = tuple(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def render(counters: Counters, usage: Usage, outflow: Outflow) -> bytes:
    """Give everything as Prometheus text.

    :param usage: what the store holds.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(_families(counters, usage, outflow)))
    ProcessCollector(registry=registry)
    return bytes(generate_latest(registry))


def _families(counters: Counters, usage: Usage, outflow: Outflow) -> Iterator[Metric]:
    yield CounterMetricFamily("pushd_published", "Messages accepted.", counters.published)
    yield CounterMetricFamily("pushd_published_bytes", "Bytes of data accepted.", counters.published_bytes)
    yield CounterMetricFamily("pushd_delivered", "Messages handed to subscribers live.", outflow.delivered)
    yield CounterMetricFamily("pushd_replayed", "Messages sent from the history.", counters.replayed)
    yield _labelled("pushd_dropped", "Messages let go for slow subscribers.", "policy", outflow.dropped)
    yield _labelled("pushd_gaps", "Gaps found when a subscriber came back.", "reason", counters.gaps)
    yield _labelled("pushd_refusals", "Refusals told.", "code", counters.refusals)
    yield _by_transport("pushd_connections", "Open connections.", counters.connections)
    yield from _of_outflow(outflow)
    yield _labelled("pushd_lagging", "Subscribers that became too slow.", "policy", counters.lagging)
    yield _labelled("pushd_disconnects", "Subscribers given up.", "reason", counters.disconnects)
    yield _histogram("pushd_latency_seconds", "From the publish to the socket.", counters.latency)
    yield _histogram("pushd_loop_delay_seconds", "How late a timer was, each second.", counters.lateness)
    yield from _of_store(usage)


def _of_store(usage: Usage) -> Iterator[Metric]:
    gauges = (
        ("pushd_history_messages", "Messages kept.", usage.messages),
        ("pushd_history_bytes", "Bytes kept.", usage.bytes),
        ("pushd_channels", "Channels known.", usage.channels),
        ("pushd_canary_age_seconds", "Since a sign of life came back from the store.", usage.canary_age),
    )
    for name, text, value in gauges:
        if value is not None:  # a value that nobody knows is left out: an old one or a zero would mislead
            yield GaugeMetricFamily(name, text, value)
    if usage.disk is not None:
        yield from _of_disk(usage.disk)


def _of_outflow(outflow: Outflow) -> Iterator[Metric]:
    messages = CounterMetricFamily("pushd_sent", "Messages sent to those who were ready.", labels=["wire"])
    octets = CounterMetricFamily("pushd_sent_bytes", "Bytes sent to those who were ready.", labels=["wire"])
    for form, (count, size) in outflow.sent.items():
        messages.add_metric([form], count)
        octets.add_metric([form], size)
    yield messages
    yield octets
    yield GaugeMetricFamily("pushd_queue_bytes", "Bytes that wait for slow subscribers.", outflow.queued_bytes)
    yield GaugeMetricFamily("pushd_waiting_bytes", "Bytes that wait in memory in all.", outflow.waiting_bytes)
    yield GaugeMetricFamily("pushd_backend_up", "Whether publishes are accepted.", int(outflow.is_up))
    yield _by_transport("pushd_subscriptions", "Topics heard, times those who hear.", outflow.subscriptions)


def _histogram(name: str, text: str, durations: Durations) -> Metric:
    bounds = [*map(str, _SECONDS), "+Inf"]
    buckets = list(zip(bounds, accumulate(durations.counts), strict=True))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=durations.sum)


def _of_disk(disk: Disk) -> Iterator[Metric]:
    yield GaugeMetricFamily("pushd_disk_bytes", "Bytes of the files of the history.", disk.bytes)
    yield CounterMetricFamily("pushd_disk_commits", "Commits to the history.", disk.commits)
    yield CounterMetricFamily("pushd_disk_failures", "Commits that failed.", disk.failures)
    yield GaugeMetricFamily("pushd_disk_waiting", "Messages that wait for a commit.", disk.waiting)


def _by_transport(name: str, text: str, counts: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["transport"])
    for transport, count in sorted(counts.items()):
        family.add_metric([transport], count)
    return family


def _labelled(name: str, text: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family
