"""Quotas over daemons that share a Redis: a burst at all of them, a daemon that is killed, and one that is frozen."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.backends.redis_server import RedisServer
from tests.daemon.real import Daemon, eventually
from tests.system.swarm import SECONDS, start_nodes, token

pytestmark = [pytest.mark.system, pytest.mark.slow]

CONNECTIONS = 6


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Daemon]]:
    """Three nodes on one Redis."""
    redis = RedisServer(tmp_path / "redis").start()
    running = start_nodes(tmp_path, redis.url)
    yield running
    for each in running:
        each.stop()
    redis.kill()


def request(node: Daemon, subject: str) -> socket.socket:
    """Request a stream of a subject with a quota."""
    bearer = token(subject, subscribe=["a"], quota={"connections": CONNECTIONS})
    sock = socket.create_connection(("127.0.0.1", node.http_port), SECONDS)
    sock.sendall(f"GET /stream/a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {bearer}\r\n\r\n".encode())
    return sock


def granted(requests: list[socket.socket]) -> list[socket.socket]:
    """Return the requests that were granted; the others are closed."""
    found = []
    for sock in requests:
        status = sock.recv(12)
        assert status in (b"HTTP/1.1 200", b"HTTP/1.1 429")
        if status == b"HTTP/1.1 200":
            found.append(sock)
        else:
            sock.close()
    return found


def is_granted(node: Daemon, subject: str) -> bool:
    """Return whether a connection is granted, and close it."""
    found = granted([request(node, subject)])
    for sock in found:
        sock.close()
    return bool(found)


def test_burst_at_all_nodes_gets_exactly_the_quota(nodes: list[Daemon]) -> None:
    for number in range(10):
        found = granted([request(nodes[each % 3], f"alice{number}") for each in range(60)])
        assert len(found) == CONNECTIONS
        for sock in found:
            sock.close()
    assert eventually(lambda: all(is_granted(each, "alice0") for each in nodes), SECONDS)
    for each in nodes:
        each.assert_healthy()


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP])
def test_quota_of_a_node_that_is_gone_is_free_within_15_seconds(
    nodes: list[Daemon], sign: signal.Signals, record_property: Callable[[str, object], None]
) -> None:
    kept = granted([request(nodes[0], "alice") for _ in range(CONNECTIONS)])
    assert len(kept) == CONNECTIONS
    assert not is_granted(nodes[1], "alice")
    began = time.monotonic()
    os.kill(nodes[0].pid, sign)
    assert eventually(lambda: is_granted(nodes[1], "alice"), 15)
    print(f"seconds until the quota was free: {time.monotonic() - began:.1f}")
    record_property("seconds", time.monotonic() - began)
    if sign == signal.SIGSTOP:
        others = granted([request(nodes[1 + number % 2], "alice") for number in range(2 * CONNECTIONS)])
        assert len(others) == CONNECTIONS
        os.kill(nodes[0].pid, signal.SIGCONT)
        others.pop().close()
        # Those of the frozen node count again, as soon as it has registered again.
        assert eventually(lambda: not is_granted(nodes[2], "alice"), SECONDS)
        for each in nodes:
            each.assert_healthy()
