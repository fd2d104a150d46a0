"""Counters, and their rendering as Prometheus text (exposition format 0.0.4).

On the hot path a counter costs one addition to an int. prometheus-client is used only when metrics are requested.
"""

import platform
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from twisted.logger import Logger

from pushd import __version__
from pushd.backends.hook_outbox import Backlog
from pushd.backends.interface import DiskUsage, Usage
from pushd.backends.presence import PresenceUsage
from pushd.core.errors import AccessRefused, BadRequest, Refusal
from pushd.core.peer import Peer

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the buckets: from a fan-out to a few subscribers up to a badly overloaded daemon."""


_LOG_INTERVAL_SECONDS = 1.0
"""The minimum time between two log lines about the same limit, so that repeated refusals do not fill the disk."""


class Durations:
    """A histogram of durations."""

    def __init__(self) -> None:
        self.counts = [0] * (len(_SECONDS) + 1)
        """Observations by bucket; the last bucket has no upper bound."""
        self.sum = 0.0
        """The sum of all durations, in seconds."""

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(_SECONDS, seconds)] += 1
        self.sum += seconds


class DeliveryMetrics(NamedTuple):
    """The state of delivery at one moment."""

    delivered: int = 0
    """Messages delivered live, counted once per subscriber."""
    dropped: Mapping[str, int] = {}
    """Messages dropped for slow consumers, by slow-consumer policy."""
    sent: Mapping[str, list[int]] = {}
    """Messages and bytes of fan-outs, counted once per subscriber, by name of the wire."""
    queued_bytes: int = 0
    """Bytes in the queues of slow consumers, counted once per queue."""
    waiting_bytes: int = 0
    """Bytes that count towards the memory budget: each queued message once, and incomplete input."""
    is_up: bool = True
    """Whether the backend accepts publishes."""
    subscriptions: Mapping[str, int] = {}
    """Subscribed topics, counted once per subscriber, by transport."""
    presence: PresenceUsage | None = None
    """The members of channels; None where they are unknown."""
    hooks: Mapping[str, Backlog] = {}
    """The backlogs of hooks, as far as they are known."""
    time: float = 0.0
    """Unix seconds."""


class Counters:
    """Counts of events since the start of the daemon.

    :param seconds: a monotonic clock.
    """

    log = Logger()

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self.on_access_refused: Callable[[AccessRefused, Peer], None] = lambda refusal, peer: None
        """Called with each refusal of a credential, or by a grant."""
        self._logged_at: dict[str, float] = {}
        """The time of the last log line, by error code."""
        self._suppressed: Counter[str] = Counter()
        """Log lines suppressed since then, by error code."""
        self.published = 0
        """Messages accepted."""
        self.published_bytes = 0
        """Bytes of data of these messages."""
        self.replayed = 0
        """Messages sent from the history."""
        self.gaps: Counter[str] = Counter()
        """Gaps reported to subscribers, by reason."""
        self.refusals: Counter[str] = Counter()
        """Refusals sent to clients over any transport, by error code."""
        self.connections: Counter[str] = Counter()
        """Open connections, by transport."""
        self.lagging: Counter[str] = Counter()
        """Subscribers that became slow consumers, by slow-consumer policy."""
        self.disconnects: Counter[str] = Counter()
        """Subscribers that were disconnected, by error code."""
        self.revocations: Counter[str] = Counter()
        """Revocations that this node has learned, by what they name."""
        self.kept_revocations = 0
        """Revocations that are kept."""
        self.callback_requests: Counter[str] = Counter()
        """Requests to the application, by outcome."""
        self.callback_questions: Counter[str] = Counter()
        """Questions to the application, by how they were answered."""
        self.callback_seconds = Durations()
        """The time from a request to the application to its response or failure."""
        self.hook_sent: Counter[str] = Counter()
        """Events that receivers of hooks have confirmed, by hook."""
        self.hook_requests: Counter[tuple[str, str]] = Counter()
        """Requests to receivers of hooks, by hook and outcome."""
        self.hook_lost: Counter[str] = Counter()
        """Events of hooks that could not be stored, by hook."""
        self.requests: Counter[str] = Counter()
        """Requests that were answered or refused, by outcome."""
        self.open_requests = 0
        """Requests that wait for their replies."""
        self.latency = Durations()
        """The time from publish to socket, for each slice of subscribers."""
        self.loop_delay = Durations()
        """The loop delay, measured once a second."""

    def observe_callback(self, outcome: str, seconds: float) -> None:
        """Count a request to the application; see `pushd.auth.callback_client.CallbackObserver`."""
        self.callback_requests[outcome] += 1
        self.callback_seconds.observe(seconds)

    def count_refusal(self, refusal: Refusal, peer: Peer | str) -> None:
        """Count a refusal. If a limit was exceeded, log the peer, at most once a second for each error code.

        :param peer: its label, where a refusal does not depend on its credential.
        """
        self.refusals[refusal.code] += 1
        if refusal.is_limit:
            self._log_refusal(refusal.code, str(peer), str(refusal))
        elif isinstance(refusal, AccessRefused) and isinstance(peer, Peer):
            self.on_access_refused(refusal, peer)

    def log_refused_origin(self, peer: str, origin: str) -> None:
        """Log a request from a page of a foreign origin, at most once a second: an attack, or a missing setting."""
        self._log_refusal("forbidden", peer, f"origin {origin} is not in http.allow_origins")

    def log_invalid_proxy_header(self, peer: str) -> None:
        """Log a connection to a listener for a proxy that does not begin with the header of the PROXY protocol."""
        self.refusals[BadRequest.code] += 1
        self._log_refusal(BadRequest.code, peer, "the connection does not begin with a PROXY protocol header")

    def _log_refusal(self, code: str, peer: str, reason: str) -> None:
        now = self._seconds()
        if now - self._logged_at.get(code, -_LOG_INTERVAL_SECONDS) < _LOG_INTERVAL_SECONDS:
            self._suppressed[code] += 1
            return
        self._logged_at[code] = now
        suppressed = self._suppressed.pop(code, 0)
        line = "{peer}: refused, {code}: {reason}"
        if suppressed:
            line += " ({suppressed} similar refusals not logged)"
        self.log.warn(line, peer=peer, code=code, reason=reason, suppressed=suppressed)


class _Snapshot:
    """A collector of prometheus-client with the values of one moment."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = tuple(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def render(counters: Counters, usage: Usage, delivery: DeliveryMetrics) -> bytes:
    """Return all metrics as Prometheus text.

    :param usage: the size of the backend's data.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(_families(counters, usage, delivery)))
    ProcessCollector(registry=registry)
    return bytes(generate_latest(registry))


def _families(counters: Counters, usage: Usage, delivery: DeliveryMetrics) -> Iterator[Metric]:
    build = {"version": __version__, "python": platform.python_version()}
    yield InfoMetricFamily("pushd_build", "The versions of pushd and of Python.", build)
    yield CounterMetricFamily("pushd_published", "Messages accepted.", counters.published)
    yield CounterMetricFamily("pushd_published_bytes", "Bytes of data accepted.", counters.published_bytes)
    yield CounterMetricFamily("pushd_delivered", "Messages handed to subscribers live.", delivery.delivered)
    yield CounterMetricFamily("pushd_replayed", "Messages sent from the history.", counters.replayed)
    yield _labelled("pushd_dropped", "Messages dropped for slow consumers.", "policy", delivery.dropped)
    yield _labelled("pushd_gaps", "Gaps reported to resuming subscribers.", "reason", counters.gaps)
    yield _labelled("pushd_refusals", "Refusals sent to clients.", "code", counters.refusals)
    yield _by_transport("pushd_connections", "Open connections.", counters.connections)
    yield from _of_delivery(delivery)
    yield _labelled("pushd_lagging", "Subscribers that became slow consumers.", "policy", counters.lagging)
    yield _labelled("pushd_disconnects", "Subscribers disconnected by pushd.", "reason", counters.disconnects)
    yield _labelled("pushd_revoked", "Revocations that this node has learned.", "kind", counters.revocations)
    yield GaugeMetricFamily("pushd_revocations", "Revocations that are kept.", counters.kept_revocations)
    yield from _of_callback(counters)
    yield from _of_hooks(counters, delivery)
    yield _labelled("pushd_requests", "Requests answered or refused.", "outcome", counters.requests)
    yield GaugeMetricFamily("pushd_requests_open", "Requests that wait for their replies.", counters.open_requests)
    yield _histogram("pushd_latency_seconds", "Time from publish to socket.", counters.latency)
    yield _histogram("pushd_loop_delay_seconds", "Delay of a timer due every second.", counters.loop_delay)
    yield from _of_backend(usage)


def _of_callback(counters: Counters) -> Iterator[Metric]:
    yield _labelled("pushd_callback_requests", "Requests to the application.", "outcome", counters.callback_requests)
    questions = counters.callback_questions
    yield _labelled("pushd_callback_questions", "Questions to the application.", "answered_by", questions)
    yield _histogram("pushd_callback_seconds", "Time of a request to the application.", counters.callback_seconds)


def _of_hooks(counters: Counters, delivery: DeliveryMetrics) -> Iterator[Metric]:
    yield _labelled("pushd_hook_sent", "Events that the receiver of a hook has confirmed.", "hook", counters.hook_sent)
    yield _labelled("pushd_hook_lost", "Events of a hook that could not be stored.", "hook", counters.hook_lost)
    requests = CounterMetricFamily("pushd_hook_requests", "Requests of a hook.", labels=["hook", "outcome"])
    for labels, count in sorted(counters.hook_requests.items()):
        requests.add_metric(labels, count)
    yield requests
    dead = {name: backlog.dead for name, backlog in delivery.hooks.items()}
    yield _labelled("pushd_hook_dead", "Events of a hook that became dead letters.", "hook", dead)
    gauges: tuple[tuple[str, str, Callable[[Backlog], float]], ...] = (
        ("pushd_hook_backlog", "Events of a hook that wait.", lambda backlog: backlog.events),
        ("pushd_hook_backlog_bytes", "Bytes of the events of a hook that wait.", lambda backlog: backlog.bytes),
        (
            "pushd_hook_age_seconds",
            "Age of the oldest event of a hook that waits.",
            lambda backlog: 0.0 if backlog.oldest is None else max(0.0, delivery.time - backlog.oldest),
        ),
    )
    for name, text, value in gauges:
        family = GaugeMetricFamily(name, text, labels=["hook"])
        for hook, backlog in sorted(delivery.hooks.items()):
            family.add_metric([hook], value(backlog))
        yield family


def _of_backend(usage: Usage) -> Iterator[Metric]:
    gauges = (
        ("pushd_history_messages", "Messages in the history.", usage.messages),
        ("pushd_history_bytes", "Bytes of messages in the history.", usage.bytes),
        ("pushd_channels", "Channels with history.", usage.channels),
        ("pushd_channel_bytes", "Bytes of memory of the records of channels.", usage.record_bytes),
        ("pushd_canary_age_seconds", "Time since a heartbeat came back from the backend.", usage.canary_age),
    )
    for name, text, value in gauges:
        if value is not None:  # an unknown value is left out, since an old one or a zero would mislead
            yield GaugeMetricFamily(name, text, value)
    if usage.disk is not None:
        yield from _of_disk(usage.disk)


def _of_delivery(delivery: DeliveryMetrics) -> Iterator[Metric]:
    messages = CounterMetricFamily("pushd_sent", "Messages fanned out to subscribers without a queue.", labels=["wire"])
    octets = CounterMetricFamily(
        "pushd_sent_bytes", "Bytes fanned out to subscribers without a queue.", labels=["wire"]
    )
    for wire, (count, size) in delivery.sent.items():
        messages.add_metric([wire], count)
        octets.add_metric([wire], size)
    yield messages
    yield octets
    yield GaugeMetricFamily("pushd_queue_bytes", "Bytes queued for slow consumers.", delivery.queued_bytes)
    yield GaugeMetricFamily("pushd_waiting_bytes", "Bytes of the memory budget in use.", delivery.waiting_bytes)
    yield GaugeMetricFamily("pushd_backend_up", "1 if the backend accepts publishes, else 0.", int(delivery.is_up))
    yield _by_transport("pushd_subscriptions", "Topics times their subscribers.", delivery.subscriptions)
    if delivery.presence is not None:
        yield from _of_presence(delivery.presence)


def _of_presence(usage: PresenceUsage) -> Iterator[Metric]:
    yield GaugeMetricFamily("pushd_members", "Members of channels.", usage.members)
    yield GaugeMetricFamily("pushd_member_channels", "Channels with members.", usage.channels)
    yield GaugeMetricFamily("pushd_members_seen", "Members that left in the last 24 hours.", usage.remembered)
    yield _labelled("pushd_member_events", "Events of members that were published.", "action", usage.events)


def _histogram(name: str, text: str, durations: Durations) -> Metric:
    bounds = [*map(str, _SECONDS), "+Inf"]
    buckets = list(zip(bounds, accumulate(durations.counts), strict=True))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=durations.sum)


def _of_disk(disk: DiskUsage) -> Iterator[Metric]:
    yield GaugeMetricFamily("pushd_disk_bytes", "Bytes of the history files.", disk.bytes)
    yield CounterMetricFamily("pushd_disk_commits", "Commits to the history.", disk.commits)
    yield CounterMetricFamily("pushd_disk_failures", "Commits that failed.", disk.failures)
    yield GaugeMetricFamily("pushd_disk_waiting", "Messages waiting for a commit.", disk.pending)


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
