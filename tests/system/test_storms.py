"""Crowds that come and go, and loads of topics and channels: afterwards all is as before."""

import json
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import product

import pytest

from tests.daemon.clients import Client
from tests.daemon.real import Daemon, eventually
from tests.daemon.refusals import NDJSON
from tests.storm.client_swarm import ClientSwarm

pytestmark = pytest.mark.system

_CROWD = 300
_TIMES = 7
_ASKING = 1500
_PATIENCE = 30.0
_AT_ONCE = 1.0
"""Seconds in which a delivery is here, on a busy machine too."""
_RESET = struct.pack("ii", 1, 0)
"""For SO_LINGER: close by a reset."""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that nobody else uses."""
    daemon = Daemon(tmp_path_factory.mktemp("pushd"))
    yield daemon
    daemon.assert_healthy()
    daemon.stop()


def assert_as_before(daemon: Daemon) -> None:
    """See that nobody is left, and that a publish is heard at once."""
    for transport in ("tcp", "sse", "stream", "websocket"):
        series = f'pushd_connections{{transport="{transport}"}}'
        assert eventually(lambda: daemon.counter(series) == 0), series  # noqa: B023
    assert eventually(lambda: daemon.counter('pushd_connections{transport="http"}') == 1), "the one that asks"
    with daemon.lines() as lines:
        assert lines.command(b"SUB well").startswith(b"+OK")
        began = time.monotonic()
        assert daemon.publish("well", b"still")["subscribers"] == 1
        assert lines.reply().endswith(b" still")
        assert time.monotonic() - began < _AT_ONCE


@pytest.mark.parametrize("ask", [b"", b"GET /sse/a HTTP/1.1\r\nHost: localhost\r\n\r\n"], ids=["silent", "streams"])
def test_a_crowd_that_comes_and_goes(daemon: Daemon, ask: bytes) -> None:
    for number in range(_TIMES):
        crowd = [Client((daemon.http_port, daemon.tcp_port)[index % 2]) for index in range(_CROWD)]
        for client in crowd:
            client.send(ask)
            if number % 2:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        for client in crowd:
            client.__exit__(None, None, None)
    assert_as_before(daemon)


def test_a_crowd_that_comes_back_hears_what_it_missed(daemon: Daemon) -> None:
    first = daemon.publish("back", b"0")["id"]
    for number in range(1, 20):
        daemon.publish("back", b"%d" % number)
    with ExitStack() as held:
        crowd = [held.enter_context(daemon.lines()) for _ in range(_CROWD)]
        for lines in crowd:
            lines.send(b"SUB back since=%b\r\n" % first.encode())
        for lines in crowd:
            assert lines.reply().startswith(b"+OK SUB back")
        assert daemon.publish("back", b"20")["subscribers"] == _CROWD
        for lines in crowd:
            heard = [lines.reply().rsplit(b" ", 1)[1] for _ in range(20)]
            assert heard == [b"%d" % number for number in range(1, 21)]
    assert_as_before(daemon)


def test_a_message_does_not_wait_behind_a_crowd(daemon: Daemon) -> None:
    """Nearly all of those who asked before it was published are served after it."""
    cursor = daemon.publish("crowd", b"0")["id"]
    for number in range(1, 20):
        daemon.publish("crowd", b"%d" % number)
    ask = f"GET /sse/crowd?since={cursor} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with daemon.lines() as publisher, daemon.lines() as lines:
        assert lines.command(b"SUB live").startswith(b"+OK")
        assert publisher.command(b"PUB live before").startswith(b"+OK")
        assert lines.reply().endswith(b" before")
        with ClientSwarm([daemon.http_port], _ASKING, ask) as swarm:
            swarm.wait_connected(_PATIENCE)
            publisher.send(b"PUB live amid\r\n")
            assert lines.reply().endswith(b" amid")
            served = swarm.count_readable()
            swarm.wait_received(b"data: 19\n\n\r\n", _PATIENCE)
    assert served < _ASKING / 2
    assert_as_before(daemon)


def test_a_subscriber_to_a_thousand_topics_among_many_channels(daemon: Daemon) -> None:
    with daemon.lines() as lines:
        topics = ",".join(f"many/{number}" for number in range(1000))
        assert lines.command(b"SUB " + topics.encode()).startswith(b"+OK")
        names = [f"many/{number}" for number in range(20_000)]
        batch = "\n".join(json.dumps({"channel": name, "data": "x"}) for name in names)
        answer = daemon.request("POST", "/pub", NDJSON, batch.encode())
        assert answer.body.count(b'"id"') == len(names)
        heard = [lines.reply().split(b" ")[1].decode() for _ in range(1000)]
        assert heard == names[:1000]
        began = time.monotonic()
        daemon.publish("many/999", b"last")
        assert lines.reply().endswith(b" last")
        assert time.monotonic() - began < _AT_ONCE
    assert_as_before(daemon)


def test_patterns_that_all_look_alike(daemon: Daemon) -> None:
    """A thousand patterns that only the last segment tells apart cost a publish as many steps, and not more."""
    deep = [f"{'/'.join(words)}/end" for words in product("a*", repeat=9)]
    with daemon.lines() as lines:
        assert lines.command(b"SUB " + ",".join(deep).encode()).startswith(b"+OK")
        began = time.monotonic()
        for _ in range(20):
            assert daemon.publish("a/" * 9 + "none")["subscribers"] == 0
        assert time.monotonic() - began < _AT_ONCE
        assert daemon.publish("a/" * 9 + "end", b"once")["subscribers"] == 1
        assert lines.reply().endswith(b" once")
        assert lines.command(b"PING x") == b"PONG x", "it is heard once"
    assert_as_before(daemon)
