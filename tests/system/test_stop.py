"""Shutdown: clients are asked to reconnect, slow readers receive what is queued, and the process exits."""

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from tests.daemon.clients import Lines
from tests.daemon.real import eventually
from tests.system.durable import DurableDaemon

pytestmark = pytest.mark.system

Start = Callable[..., DurableDaemon]
MESSAGES = 20
LARGE = b"x" * 1_000_000
"""MESSAGES of these exceed the socket buffers."""


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[Start]:
    """Start a daemon, again with the same history."""
    running: list[DurableDaemon] = []

    def start(*options: str, is_forked: bool = True) -> DurableDaemon:
        running.append(DurableDaemon(tmp_path, *options, is_forked=is_forked))
        return running[-1]

    yield start
    for daemon in running:
        if daemon.is_alive:
            daemon.kill()


def stalled(daemon: DurableDaemon) -> Lines:
    """Return a connection with queued messages that it does not read."""
    lines = daemon.lines()
    assert lines.command(b"SUB large").startswith(b"+OK SUB large cursor=")
    for _ in range(MESSAGES):
        daemon.publish("large", LARGE)
    return lines


def test_clients_are_asked_to_reconnect_and_miss_nothing(durable: Start) -> None:
    daemon = durable()
    waits = []
    with daemon.lines() as lines, daemon.websocket("/ws/a", v1=False) as socket:
        events = [daemon.http() for _ in range(5)]
        for http in events:
            http.open_stream("/sse/a")
        assert lines.command(b"SUB a").startswith(b"+OK SUB a cursor=")
        first = daemon.publish("a", b"first")["id"]
        daemon._process.send_signal(signal.SIGTERM)
        for http in events:
            body = b"".join(http.chunks())
            farewell = re.fullmatch(
                rb":\nretry: 3000\nevent: begin\n(?:[^\n]+\n)+\nid: [^\n]+\ndata: first\n\nretry: ([0-9]+)\n",
                body,
            )
            assert farewell, body
            waits.append(int(farewell[1]))
        assert lines.reply().split(b" ", 3)[:1] == [b"MSG"]
        assert lines.reply().startswith(b"-ERR stopping ")
        assert lines.line() == b""
        assert socket.recv() == "first"
        with pytest.raises(ConnectionClosed):
            socket.recv(5)
        assert socket.close_code == 1012
    assert all(3000 <= wait <= 13_000 for wait in waits) and len(set(waits)) > 1
    assert eventually(lambda: not daemon.is_alive, 10)
    assert "Traceback" not in daemon.log
    daemon = durable()
    second = daemon.publish("a", b"second")["id"]
    with daemon.lines() as lines:
        lines.send(f"SUB a since={first}\r\n".encode())
        assert lines.reply().startswith(b"+OK SUB a cursor=")
        assert lines.reply() == f"MSG a {second} second".encode()
    daemon.stop()


def test_slow_reader_receives_its_queue_while_listeners_are_closed(durable: Start) -> None:
    daemon = durable("--limits-queue-bytes", "64MiB", "--stop-patience", "60")
    with stalled(daemon) as lines, daemon.http() as http:
        assert http.request("GET", "/health/ready").status == 200
        daemon._process.send_signal(signal.SIGTERM)
        assert eventually(lambda: http.request("GET", "/health/ready").status == 503)
        assert http.request("GET", "/health/live").status == 200
        with pytest.raises(ConnectionRefusedError):
            daemon.lines()
        for _ in range(MESSAGES):
            assert lines.line().split(b" ", 3)[3] == LARGE + b"\r\n"
        assert lines.reply().startswith(b"-ERR stopping ")
    assert eventually(lambda: not daemon.is_alive, 10)
    daemon.stop()
    assert "Traceback" not in daemon.log


def test_patience_bounds_the_shutdown(durable: Start) -> None:
    daemon = durable("--limits-queue-bytes", "64MiB", "--stop-patience", "0.5")
    with stalled(daemon):
        daemon._process.send_signal(signal.SIGTERM)
        assert eventually(lambda: not daemon.is_alive, 15)
    assert "Traceback" not in daemon.log


def test_second_signal_exits_at_once(durable: Start) -> None:
    daemon = durable("--limits-queue-bytes", "64MiB", "--stop-patience", "3600", is_forked=False)
    with stalled(daemon), daemon.http() as http:
        http.request("GET", "/health/ready")
        daemon._process.send_signal(signal.SIGTERM)
        assert eventually(lambda: http.request("GET", "/health/ready").status == 503)
        daemon._process.send_signal(signal.SIGTERM)
        assert daemon._process.wait(15) == -signal.SIGTERM
