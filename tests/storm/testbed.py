"""The testbed of the storms: one daemon, a latency probe, and the checks after each storm."""

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.daemon.clients import Lines
from tests.daemon.real import Daemon, eventually
from tests.soak.transports import Ports
from tests.storm.live_latency import LatencyProbe, p99

OPTIONS = ("--limits-connections-per-address", "20000", "--limits-channels", "200000", "--stop-patience", "0")
"""The options of daemons that are exposed to storms."""
_GAUGE = re.compile(r"^(pushd_(?:connections|subscriptions|queue_bytes)\S*|process_open_fds) (\S+)$", re.MULTILINE)
_HTTP_CONNECTIONS = 'pushd_connections{transport="http"}'
_SETTLE_SECONDS = 20.0
_MAX_PUBLISH_SECONDS = 0.5
_PUBLISHES = 10
"""Publishes, the fastest of which counts: a busy machine may stop a process for some seconds."""
_IDLE_SECONDS = 3.0


class StormTestbed:
    """A daemon that is exposed to one storm after another. A context manager."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.daemon = Daemon(directory, *OPTIONS, *options)
        self.ports = Ports(self.daemon.http_port, self.daemon.tcp_port)
        self._latency = LatencyProbe(self.ports)
        self._baseline: Mapping[str, float] = {}

    def __enter__(self) -> Self:
        self._latency.__enter__()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._latency.__exit__(kind, error, trace)
        self.daemon.stop()

    def gauges(self) -> Mapping[str, float]:
        """Return the gauges of connections, subscriptions, queues and descriptors, by series."""
        text = self.daemon.request("GET", "/metrics").body.decode()
        return {series: float(value) for series, value in _GAUGE.findall(text)}

    def peers(self) -> float:
        """Return the number of streams, WebSockets and TCP-line connections."""
        gauges = self.gauges()
        connections = sum(value for series, value in gauges.items() if series.startswith("pushd_connections"))
        return connections - gauges[_HTTP_CONNECTIONS]

    def record_baseline(self) -> None:
        """Record the gauges before the first storm, once no other HTTP connection is open."""

        def is_alone() -> bool:
            self._baseline = self.gauges()
            return self._baseline[_HTTP_CONNECTIONS] == 1

        assert self._baseline or eventually(is_alone, _SETTLE_SECONDS), self._baseline

    def assert_baseline(self) -> None:
        """Check that the gauges are back at the baseline, that publishes are fast, and that nothing failed."""
        before = {series: value for series, value in self._baseline.items() if value}
        now: Mapping[str, float] = {}

        def holds() -> bool:
            nonlocal now
            now = {series: value for series, value in self.gauges().items() if value}
            return now == before

        assert eventually(holds, _SETTLE_SECONDS), f"{now} is not {before}"
        with self.daemon.lines() as lines:
            assert lines.command(b"SUB storm/well").startswith(b"+OK")
            took = min(self._publish_seconds(lines) for _ in range(_PUBLISHES))
        assert took < _MAX_PUBLISH_SECONDS, f"a publish took {took * 1000:.0f} ms"
        self.daemon.assert_healthy()

    def _publish_seconds(self, lines: Lines) -> float:
        """Return the seconds from a publish to its delivery to a subscriber."""
        began = time.monotonic()
        self.daemon.publish("storm/well", b"still")
        assert lines.reply().endswith(b" still")
        return time.monotonic() - began

    def idle_latency(self) -> float:
        """Return the p99 of live delivery without other load, in seconds."""
        return self.latency_during(lambda: time.sleep(_IDLE_SECONDS))

    def latency_during(self, storm: Callable[[], object]) -> float:
        """Return the p99 of live delivery during a storm, in seconds."""
        self._latency.delays()
        storm()
        return p99(self._latency.delays())
