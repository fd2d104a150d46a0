"""The storms. Each runs against a testbed, returns its figures, and raises AssertionError when a bound is exceeded."""

import json
import re
import time
from collections.abc import Callable
from itertools import pairwise, product
from statistics import median

from tests.daemon.clients import HANDSHAKE
from tests.daemon.refusals import NDJSON
from tests.storm.client_swarm import ClientSwarm
from tests.storm.testbed import StormTestbed

Storm = Callable[[StormTestbed, int], str]

_TIMEOUT = 120.0
_ROUNDS = 10
_STREAM = b"GET /sse/storm/swarm HTTP/1.1\r\nHost: localhost\r\n\r\n"
_MAX_SLOWDOWN = 5.0
"""The factor by which the p99 of live delivery may rise while a swarm reconnects."""
_REPEATS = 3
"""Runs of each transport; the median counts, since the machine has other load."""
_MISSED = 20
_UPGRADE = "".join(f"{name}: {value}\r\n" for name, value in HANDSHAKE.items())
_NUMBER = re.compile(rb"no([0-9]+)\.")
_BATCH = 20_000
_TOPICS = 1000
_CHANNELS = 100_000
_PUBLISHES = 100
_TOLERANCE = 1.6
"""The factor by which twice the work may exceed twice the time, on a busy machine."""


def connect_and_leave(testbed: StormTestbed, size: int) -> str:
    """Connect and disconnect a swarm, ten times: without a request or subscribed, with a normal close or a reset."""
    times, delays = [], []
    for number in range(_ROUNDS):
        silent, reset = number % 2 == 0, number % 4 > 1

        def storm(silent: bool = silent, reset: bool = reset) -> None:
            ports = testbed.ports if silent else [testbed.ports.http]
            with ClientSwarm(ports, size, b"" if silent else _STREAM) as swarm:
                swarm.wait_connected(_TIMEOUT)
                if reset:
                    swarm.reset_on_close()

        began = time.monotonic()
        delays.append(testbed.latency_during(storm))
        testbed.assert_baseline()
        times.append(time.monotonic() - began)
    return f"{_ROUNDS} times {size}, {median(times):.1f} s each; live p99 {median(delays) * 1000:.1f} ms"


def reconnect(testbed: StormTestbed, size: int) -> str:
    """Reconnect a swarm with cursors over three transports, each of which replays the missed messages."""
    ids = [testbed.daemon.publish("storm/back", b"no%d." % number)["id"] for number in range(_MISSED + 1)]
    cursor, figures = ids[0], []
    since = f"/storm/back?since={cursor} HTTP/1.1\r\nHost: localhost\r\n"
    requests = {
        "sse": (testbed.ports.http, f"GET /sse{since}\r\n", b"\n\n\r\n"),
        "websocket": (testbed.ports.http, f"GET /ws{since}{_UPGRADE}\r\n", b""),
        "lines": (testbed.ports.tcp, f"SUB storm/back since={cursor}\r\n", b"\r\n"),
    }
    for transport, (port, request, end) in requests.items():
        ratios, delays, times = [], [], []
        for _ in range(_REPEATS):
            normal = testbed.idle_latency()
            began = time.monotonic()
            with ClientSwarm([port], size, request.encode()) as swarm:

                def storm(swarm: ClientSwarm = swarm, end: bytes = end) -> None:
                    swarm.wait_connected(_TIMEOUT)
                    swarm.wait_received(b"no%d." % _MISSED + end, _TIMEOUT)

                delays.append(testbed.latency_during(storm))
                ratios.append(delays[-1] / normal)
                times.append(time.monotonic() - began)
                for received in swarm.received.values():
                    numbers = [int(number) for number in _NUMBER.findall(received)]
                    assert numbers == [*range(1, _MISSED + 1)], received[-500:]
            testbed.assert_baseline()
        slowdown, p99_ms = median(ratios), median(delays) * 1000
        figures.append(f"{transport} {median(times):.1f} s, live p99 {p99_ms:.1f} ms, {slowdown:.1f} of normal")
        assert slowdown <= _MAX_SLOWDOWN, figures
    return f"{size}: " + "; ".join(figures)


def many_topics(testbed: StormTestbed, size: int) -> str:
    """Publish to a hundred thousand channels, a thousand of which one subscriber has subscribed to by name."""
    names = [f"many/{number}" for number in range(_CHANNELS)]
    with testbed.daemon.lines() as lines:
        topics = ",".join(names[:: len(names) // _TOPICS])
        assert lines.command(b"SUB " + topics.encode()).startswith(b"+OK")
        began = time.monotonic()
        for start in range(0, len(names), _BATCH):
            batch = "\n".join(json.dumps({"channel": name, "data": "x"}) for name in names[start : start + _BATCH])
            response = testbed.daemon.request("POST", "/pub", NDJSON, batch.encode())
            assert response.body.count(b'"id"') == _BATCH, response.body[:500]
        took = time.monotonic() - began
        received = [lines.reply().split(b" ")[1].decode() for _ in range(_TOPICS)]
        assert received == topics.split(",")
        assert testbed.daemon.counter("pushd_channels") >= _CHANNELS
    return f"{_TOPICS} topics among {_CHANNELS} channels; {took / _CHANNELS * 1e6:.0f} µs a publish"


def slow_patterns(testbed: StormTestbed, size: int) -> str:
    """Publish to channels that hundreds of patterns nearly match: cost is linear in the patterns and in the segments.

    Thousands of patterns would not fit into the processor's cache, and then each would cost more.
    """
    costs = []
    for depth in (8, 9, 10):
        patterns = [f"{'/'.join(words)}/end" for words in product("a*", repeat=depth)]
        with testbed.daemon.lines() as lines:
            for start in range(0, len(patterns), _TOPICS):
                assert lines.command(b"SUB " + ",".join(patterns[start : start + _TOPICS]).encode()).startswith(b"+OK")
            costs.append(_publish_seconds(testbed, "a/" * depth))
    deep = []
    for depth in (30, 60, 120):
        with testbed.daemon.lines() as lines:
            assert lines.command(f"SUB {'*/' * depth}end,{'a/' * depth}end,**".encode()).startswith(b"+OK")
            deep.append(_publish_seconds(testbed, "a/" * depth))
    figures = [" ".join(f"{cost * 1e6:.0f}" for cost in each) for each in (costs, deep)]
    for first, second in (*pairwise(costs), *pairwise(deep)):
        assert second < 2 * _TOLERANCE * first, f"not linear: {figures}"
    return f"256 512 1024 patterns: {figures[0]} µs a publish; 30 60 120 segments: {figures[1]} µs"


def _publish_seconds(testbed: StormTestbed, start: str) -> float:
    """Return the seconds of a publish to a new channel: the minimum, since the machine has other load."""
    times = []
    with testbed.daemon.lines() as lines:
        for number in range(_PUBLISHES):
            began = time.monotonic()
            assert lines.command(f"PUB {start}{number} x".encode()).startswith(b"+OK")
            times.append(time.monotonic() - began)
    return min(times)
