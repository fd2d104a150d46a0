"""Where the storms take place: one daemon, those who are subscribed to it all the while, and what has to hold behind
each storm.
"""

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.doors.real import Daemon, eventually
from tests.soak.transports import Ports
from tests.storm.live_latency import Live, slowest

_OPTIONS = ("--limits-connections-per-address", "20000", "--limits-channels", "200000", "--stop-patience", "0")
_GAUGE = re.compile(r"^(pushd_(?:connections|subscriptions|queue_bytes)\S*|process_open_fds) (\S+)$", re.MULTILINE)
_ASKING = 'pushd_connections{transport="http"}'
_SETTLE_SECONDS = 20.0
_AT_ONCE = 0.5
_NORMAL_SECONDS = 3.0


class Stage:
    """A daemon, on which one storm after another is let loose; a context."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.daemon = Daemon(directory, *_OPTIONS, *options)
        self.ports = Ports(self.daemon.http_port, self.daemon.tcp_port)
        self._live = Live(self.ports)
        self._before: Mapping[str, float] = {}

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.__exit__(kind, error, trace)
        self.daemon.stop()

    def gauges(self) -> Mapping[str, float]:
        """Give what is open and what waits now."""
        text = self.daemon.ask("GET", "/metrics").body.decode()
        return {series: float(value) for series, value in _GAUGE.findall(text)}

    def peers(self) -> float:
        """Give how many listen, and how many speak lines."""
        gauges = self.gauges()
        connections = sum(value for series, value in gauges.items() if series.startswith("pushd_connections"))
        return connections - gauges[_ASKING]

    def begin(self) -> None:
        """Remember how all is before the first storm, once there is nobody else who asks for that."""

        def is_alone() -> bool:
            self._before = self.gauges()
            return self._before[_ASKING] == 1

        assert self._before or eventually(is_alone), self._before

    def assert_as_before(self) -> None:
        """See that nobody is left, that a publish is heard at once, and that nothing broke."""
        before = {series: value for series, value in self._before.items() if value}
        now: Mapping[str, float] = {}

        def holds() -> bool:
            nonlocal now
            now = {series: value for series, value in self.gauges().items() if value}
            return now == before

        assert eventually(holds, _SETTLE_SECONDS), f"{now} is not {before}"
        with self.daemon.lines() as lines:
            assert lines.ask(b"SUB storm/well").startswith(b"+OK")
            began = time.monotonic()
            self.daemon.publish("storm/well", b"still")
            assert lines.reply().endswith(b" still")
            assert (took := time.monotonic() - began) < _AT_ONCE, f"a publish took {took * 1000:.0f} ms"
        self.daemon.assert_well()

    def normal(self) -> float:
        """Measure the p99 of live deliveries while nothing else is done, in seconds."""
        return self.during(lambda: time.sleep(_NORMAL_SECONDS))

    def during(self, storm: Callable[[], object]) -> float:
        """Give the p99 of live deliveries during a storm, in seconds."""
        self._live.delays()
        storm()
        return slowest(self._live.delays())
