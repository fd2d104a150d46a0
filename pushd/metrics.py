"""Plain counters, and their rendering as Prometheus text (exposition format 0.0.4).

On the hot path a counter is one addition to an int; prometheus-client only sees them when somebody asks.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from twisted.logger import Logger

from pushd.backends.interface import Disk, Usage
from pushd.core.errors import Refusal

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


_LOG_SECONDS = 1.0
"""From one line of the log about a kind of refusal to the next."""


class Counters:
    """What happened since the start."""

    log = Logger()

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: gives seconds."""
        self._clock = clock
        self._told: dict[str, tuple[float, int]] = {}
        """By code, when a refusal was last logged, and how many were not since."""
        self.published = 0
        self.published_bytes = 0
        self.replayed = 0
        self.gaps: Counter[str] = Counter()
        """By reason."""
        self.refusals: Counter[str] = Counter()
        """By code: every no that a peer was told, whatever the door."""
        self.connections: Counter[str] = Counter()
        """Open now, by transport."""

    def refused(self, refusal: Refusal, peer: str) -> None:
        """Count a refusal; where a limit was passed, let the log name the peer, once a second for each kind: a flood is
        not to fill the disk.
        """
        self.refusals[refusal.code] += 1
        if refusal.is_limit:
            self._tell(refusal, peer)

    def _tell(self, refusal: Refusal, peer: str) -> None:
        now, code = self._clock(), refusal.code
        told, left_out = self._told.get(code, (-math.inf, 0))
        if now < told + _LOG_SECONDS:
            self._told[code] = told, left_out + 1
            return
        self._told[code] = now, 0
        more = f" (and {left_out} more of these before)" if left_out else ""
        self.log.warn("{peer}: refused, {code}: {why}{more}", peer=peer, code=code, why=str(refusal), more=more)


class _Snapshot:
    """Everything at one moment, in the shape that prometheus-client asks for."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = tuple(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def render(counters: Counters, usage: Usage, delivered: int, dropped: int) -> bytes:
    """Give everything as Prometheus text.

    :param usage: what the store holds.
    :param delivered: messages handed to subscribers, times the subscribers.
    :param dropped: messages let go for slow subscribers.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(_families(counters, usage, delivered, dropped)))
    return bytes(generate_latest(registry))


def _families(counters: Counters, usage: Usage, delivered: int, dropped: int) -> Iterator[Metric]:
    yield CounterMetricFamily("pushd_published", "Messages accepted.", counters.published)
    yield CounterMetricFamily("pushd_published_bytes", "Bytes of data accepted.", counters.published_bytes)
    yield CounterMetricFamily("pushd_delivered", "Messages handed to subscribers live.", delivered)
    yield CounterMetricFamily("pushd_replayed", "Messages sent from the history.", counters.replayed)
    yield CounterMetricFamily("pushd_dropped", "Messages let go for slow subscribers.", dropped)
    yield _labelled("pushd_gaps", "Gaps found when a subscriber came back.", "reason", counters.gaps)
    yield _labelled("pushd_refusals", "Refusals told.", "code", counters.refusals)
    connections = GaugeMetricFamily("pushd_connections", "Open connections.", labels=["transport"])
    for transport, count in counters.connections.items():
        connections.add_metric([transport], count)
    yield connections
    yield GaugeMetricFamily("pushd_history_messages", "Messages kept.", usage.messages)
    yield GaugeMetricFamily("pushd_history_bytes", "Bytes kept.", usage.bytes)
    yield GaugeMetricFamily("pushd_channels", "Channels known.", usage.channels)
    if usage.disk is not None:
        yield from _of_disk(usage.disk)


def _of_disk(disk: Disk) -> Iterator[Metric]:
    yield GaugeMetricFamily("pushd_disk_bytes", "Bytes of the files of the history.", disk.bytes)
    yield CounterMetricFamily("pushd_disk_commits", "Commits to the history.", disk.commits)
    yield CounterMetricFamily("pushd_disk_failures", "Commits that failed.", disk.failures)
    yield GaugeMetricFamily("pushd_disk_waiting", "Messages that wait for a commit.", disk.waiting)


def _labelled(name: str, text: str, label: str, counts: Counter[str]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family
