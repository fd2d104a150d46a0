"""Many connections, topics and channels: afterwards all gauges are back at their start."""

import json
import math
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import product

import pytest

from tests.daemon.clients import Client
from tests.daemon.real import Daemon, eventually
from tests.daemon.refusals import NDJSON
from tests.storm.client_swarm import ClientSwarm

pytestmark = pytest.mark.system

_CLIENTS = 300
_ROUNDS = 7
_RECONNECTING = 1500
_TIMEOUT = 30.0
_DELIVERY_SECONDS = 1.0
"""Seconds in which a message is delivered."""
_ATTEMPTS = 5
"""Of which the best counts: a busy machine may stop a process for some seconds."""
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with which closing sends a reset."""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon of its own."""
    daemon = Daemon(tmp_path_factory.mktemp("pushd"))
    yield daemon
    daemon.assert_healthy()
    daemon.stop()


def assert_idle_and_healthy(daemon: Daemon) -> None:
    """Check that no connection is left, and that a publish is delivered at once."""
    for transport in ("tcp", "sse", "stream", "websocket"):
        series = f'pushd_connections{{transport="{transport}"}}'
        assert eventually(lambda: daemon.counter(series) == 0, _TIMEOUT), series  # noqa: B023
    http = 'pushd_connections{transport="http"}'
    assert eventually(lambda: daemon.counter(http) == 1, _TIMEOUT), "the connection of this sent"
    with daemon.lines() as lines:
        assert lines.command(b"SUB well").startswith(b"+OK")

        def deliver() -> None:
            assert daemon.publish("well", b"still")["subscribers"] == 1
            assert lines.reply().endswith(b" still")

        assert best_seconds(deliver) < _DELIVERY_SECONDS


def best_seconds(action: Callable[[], None]) -> float:
    """Return the seconds that an action takes: the minimum of some attempts, or less than promised."""
    best = math.inf
    for _ in range(_ATTEMPTS):
        began = time.monotonic()
        action()
        best = min(best, time.monotonic() - began)
        if best < _DELIVERY_SECONDS:
            break
    return best


@pytest.mark.parametrize("sent", [b"", b"GET /sse/a HTTP/1.1\r\nHost: localhost\r\n\r\n"], ids=["silent", "streams"])
def test_many_clients_connect_and_disconnect(daemon: Daemon, sent: bytes) -> None:
    for number in range(_ROUNDS):
        clients = [Client((daemon.http_port, daemon.tcp_port)[index % 2]) for index in range(_CLIENTS)]
        for client in clients:
            client.send(sent)
            if number % 2:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        for client in clients:
            client.__exit__(None, None, None)
    assert_idle_and_healthy(daemon)


def test_many_clients_resume(daemon: Daemon) -> None:
    first = daemon.publish("back", b"0")["id"]
    for number in range(1, 20):
        daemon.publish("back", b"%d" % number)
    with ExitStack() as stack:
        clients = [stack.enter_context(daemon.lines()) for _ in range(_CLIENTS)]
        for lines in clients:
            lines.send(b"SUB back since=%b\r\n" % first.encode())
        for lines in clients:
            assert lines.reply().startswith(b"+OK SUB back")
        assert daemon.publish("back", b"20")["subscribers"] == _CLIENTS
        for lines in clients:
            received = [lines.reply().rsplit(b" ", 1)[1] for _ in range(20)]
            assert received == [b"%d" % number for number in range(1, 21)]
    assert_idle_and_healthy(daemon)


def test_live_message_is_not_delayed_by_reconnecting_clients(daemon: Daemon) -> None:
    """Most of the clients that connected before the publish are served after it."""
    cursor = daemon.publish("clients", b"0")["id"]
    for number in range(1, 20):
        daemon.publish("clients", b"%d" % number)
    sent = f"GET /sse/clients?since={cursor} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    served: list[int] = []
    with daemon.lines() as publisher, daemon.lines() as lines:
        assert lines.command(b"SUB live").startswith(b"+OK")
        for _ in range(_ATTEMPTS):
            assert publisher.command(b"PUB live before").startswith(b"+OK")
            assert lines.reply().endswith(b" before")
            with ClientSwarm([daemon.http_port], _RECONNECTING, sent) as swarm:
                swarm.wait_connected(_TIMEOUT)
                publisher.send(b"PUB live between\r\n")
                assert lines.reply().endswith(b" between")
                served.append(swarm.count_readable())
                swarm.wait_received(b"data: 19\n\n\r\n", _TIMEOUT)
            assert publisher.reply().startswith(b"+OK")
            if served[-1] < _RECONNECTING / 2:
                break
    assert min(served) < _RECONNECTING / 2, served
    assert_idle_and_healthy(daemon)


def test_subscriber_of_a_thousand_topics_among_many_channels(daemon: Daemon) -> None:
    with daemon.lines() as lines:
        topics = ",".join(f"many/{number}" for number in range(1000))
        assert lines.command(b"SUB " + topics.encode()).startswith(b"+OK")
        names = [f"many/{number}" for number in range(20_000)]
        batch = "\n".join(json.dumps({"channel": name, "data": "x"}) for name in names)
        answer = daemon.request("POST", "/pub", NDJSON, batch.encode())
        assert answer.body.count(b'"id"') == len(names)
        received = [lines.reply().split(b" ")[1].decode() for _ in range(1000)]
        assert received == names[:1000]

        def deliver() -> None:
            daemon.publish("many/999", b"last")
            assert lines.reply().endswith(b" last")

        assert best_seconds(deliver) < _DELIVERY_SECONDS
    assert_idle_and_healthy(daemon)


def test_similar_patterns(daemon: Daemon) -> None:
    """A thousand patterns that differ only in the last segment cost a publish that many steps, and not more."""
    deep = [f"{'/'.join(words)}/end" for words in product("a*", repeat=9)]
    with daemon.lines() as lines:
        assert lines.command(b"SUB " + ",".join(deep).encode()).startswith(b"+OK")

        def publish_in_vain() -> None:
            for _ in range(20):
                assert daemon.publish("a/" * 9 + "none")["subscribers"] == 0

        assert best_seconds(publish_in_vain) < _DELIVERY_SECONDS
        assert daemon.publish("a/" * 9 + "end", b"once")["subscribers"] == 1
        assert lines.reply().endswith(b" once")
        assert lines.command(b"PING x") == b"PONG x", "it is delivered once"
    assert_idle_and_healthy(daemon)
