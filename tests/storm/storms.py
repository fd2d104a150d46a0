"""The storms. Each is let loose on a stage, gives its figures, and fails where a bound is broken."""

import json
import re
import time
from collections.abc import Callable
from itertools import pairwise, product
from statistics import median

from tests.doors.clients import HANDSHAKE
from tests.doors.refusals import NDJSON
from tests.storm.client_swarm import Crowd
from tests.storm.testbed import Stage

Storm = Callable[[Stage, int], str]

_PATIENCE = 120.0
_ROUNDS = 10
_STREAM = b"GET /sse/storm/crowd HTTP/1.1\r\nHost: a\r\n\r\n"
_WORSE = 5.0
"""How many times its normal the p99 of live deliveries may be while a crowd comes back."""
_TIMES = 3
"""That each way is tried; the median counts, since others use the machine."""
_MISSED = 20
_UPGRADE = "".join(f"{name}: {value}\r\n" for name, value in HANDSHAKE.items())
_NUMBER = re.compile(rb"no([0-9]+)\.")
_BATCH = 20_000
_TOPICS = 1000
_CHANNELS = 100_000
_PUBLISHES = 100
_STEEPER = 1.6
"""By how much twice the work may take longer than twice as long, on a busy machine."""


def come_and_go(stage: Stage, size: int) -> str:
    """Let a crowd come and go at once, ten times: in silence, to listen, and by a reset."""
    times, delays = [], []
    for number in range(_ROUNDS):
        silent, broken_off = number % 2 == 0, number % 4 > 1

        def storm(silent: bool = silent, broken_off: bool = broken_off) -> None:
            with Crowd([stage.ports.http] if not silent else stage.ports, size, b"" if silent else _STREAM) as crowd:
                crowd.be_let_in(_PATIENCE)
                if broken_off:
                    crowd.break_off()

        began = time.monotonic()
        delays.append(stage.during(storm))
        stage.assert_as_before()
        times.append(time.monotonic() - began)
    return f"{_ROUNDS} times {size}, {median(times):.1f} s each; live p99 {median(delays) * 1000:.1f} ms"


def come_back(stage: Stage, size: int) -> str:
    """Let a crowd come back at once with cursors, by three ways, and hear what it missed."""
    ids = [stage.daemon.publish("storm/back", b"no%d." % number)["id"] for number in range(_MISSED + 1)]
    cursor, figures = ids[0], []
    since = f"/storm/back?since={cursor} HTTP/1.1\r\nHost: a\r\n"
    asks = {
        "sse": (stage.ports.http, f"GET /sse{since}\r\n", b"\n\n\r\n"),
        "websocket": (stage.ports.http, f"GET /ws{since}{_UPGRADE}\r\n", b""),
        "lines": (stage.ports.tcp, f"SUB storm/back since={cursor}\r\n", b"\r\n"),
    }
    for way, (port, ask, end) in asks.items():
        ratios, delays, times = [], [], []
        for _ in range(_TIMES):
            normal = stage.normal()
            began = time.monotonic()
            with Crowd([port], size, ask.encode()) as crowd:

                def storm(crowd: Crowd = crowd, end: bytes = end) -> None:
                    crowd.be_let_in(_PATIENCE)
                    crowd.hear(b"no%d." % _MISSED + end, _PATIENCE)

                delays.append(stage.during(storm))
                ratios.append(delays[-1] / normal)
                times.append(time.monotonic() - began)
                for heard in crowd.heard.values():
                    assert [int(number) for number in _NUMBER.findall(heard)] == [*range(1, _MISSED + 1)], heard[-500:]
            stage.assert_as_before()
        worse = median(ratios)
        figures.append(f"{way} {median(times):.1f} s, live p99 {median(delays) * 1000:.1f} ms, {worse:.1f} of normal")
        assert worse <= _WORSE, figures
    return f"{size}: " + "; ".join(figures)


def many_topics(stage: Stage, size: int) -> str:
    """Publish to a hundred thousand channels, a thousand of which one subscriber has named."""
    names = [f"many/{number}" for number in range(_CHANNELS)]
    with stage.daemon.lines() as lines:
        topics = ",".join(names[:: len(names) // _TOPICS])
        assert lines.ask(b"SUB " + topics.encode()).startswith(b"+OK")
        began = time.monotonic()
        for start in range(0, len(names), _BATCH):
            batch = "\n".join(json.dumps({"channel": name, "data": "x"}) for name in names[start : start + _BATCH])
            answer = stage.daemon.ask("POST", "/pub", NDJSON, batch.encode())
            assert answer.body.count(b'"id"') == _BATCH, answer.body[:500]
        took = time.monotonic() - began
        heard = [lines.reply().split(b" ")[1].decode() for _ in range(_TOPICS)]
        assert heard == topics.split(",")
        assert stage.daemon.counter("pushd_channels") >= _CHANNELS
    return f"{_TOPICS} topics among {_CHANNELS} channels; {took / _CHANNELS * 1e6:.0f} µs a publish"


def slow_patterns(stage: Stage, size: int) -> str:
    """Publish what hundreds of patterns nearly match: twice the patterns, or the segments, cost twice as much.

    Some thousands of patterns do not fit into the processor's cache, and then each costs more.
    """
    costs = []
    for depth in (8, 9, 10):
        patterns = [f"{'/'.join(words)}/end" for words in product("a*", repeat=depth)]
        with stage.daemon.lines() as lines:
            for start in range(0, len(patterns), _TOPICS):
                assert lines.ask(b"SUB " + ",".join(patterns[start : start + _TOPICS]).encode()).startswith(b"+OK")
            costs.append(_publishing(stage, "a/" * depth))
    deep = []
    for depth in (30, 60, 120):
        with stage.daemon.lines() as lines:
            assert lines.ask(f"SUB {'*/' * depth}end,{'a/' * depth}end,**".encode()).startswith(b"+OK")
            deep.append(_publishing(stage, "a/" * depth))
    figures = [" ".join(f"{cost * 1e6:.0f}" for cost in each) for each in (costs, deep)]
    for first, second in (*pairwise(costs), *pairwise(deep)):
        assert second < 2 * _STEEPER * first, f"not in line: {figures}"
    return f"256 512 1024 patterns: {figures[0]} µs a publish; 30 60 120 segments: {figures[1]} µs"


def _publishing(stage: Stage, start: str) -> float:
    """Give the seconds that a publish takes to a channel that nobody published to before; the least, since others use
    the machine.
    """
    times = []
    with stage.daemon.lines() as lines:
        for number in range(_PUBLISHES):
            began = time.monotonic()
            assert lines.ask(f"PUB {start}{number} x".encode()).startswith(b"+OK")
            times.append(time.monotonic() - began)
    return min(times)
