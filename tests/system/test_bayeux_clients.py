"""Genuine clients of Bayeux that are cut again and again receive everything once and in order."""

import json
import socket
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.daemon.clients import SECONDS
from tests.daemon.real import Daemon
from tests.system.bayeux import CuttingRelay, Subscriber
from tests.system.durable import DurableDaemon

pytestmark = [pytest.mark.system, pytest.mark.slow]

CLIENTS = [
    ("cometd", "long-polling"),
    ("cometd", "websocket"),
    ("faye", "long-polling"),
    ("faye", "websocket"),
    ("aiocometd", "long-polling"),
    ("aiocometd", "websocket"),
]
ROUNDS, PER_ROUND = 20, 50
KILLED = [("cometd", "long-polling"), ("faye", "websocket"), ("aiocometd", "long-polling")]
KILLS = 2


class Others:
    """Subscribers over server-sent events and TCP lines."""

    def __init__(self, daemon: Daemon) -> None:
        self._sse = socket.create_connection(("127.0.0.1", daemon.http_port), SECONDS)
        self._sse.sendall(b"GET /sse/room/a?begin=0 HTTP/1.0\r\nHost: localhost\r\n\r\n")
        self._tcp = socket.create_connection(("127.0.0.1", daemon.tcp_port), SECONDS)
        self._tcp.sendall(b"SUB room/a\r\n")
        assert self._tcp.makefile("rb").readline()
        self._lines = self._tcp.makefile("rb")
        self._events = self._sse.makefile("rb")
        assert self._events.readline().startswith(b"HTTP/1.1 200")

    def sse(self, count: int) -> list[object]:
        """Return the data of events."""
        return self._read(self._events, b"data: ", count)

    def tcp(self, count: int) -> list[object]:
        """Return the data of lines."""
        return self._read(self._lines, b"MSG room/a ", count)

    def close(self) -> None:
        """Close both."""
        self._sse.close()
        self._tcp.close()

    @staticmethod
    def _read(lines: BinaryIO, prefix: bytes, count: int) -> list[object]:
        found: list[object] = []
        while len(found) < count:
            line = lines.readline()
            assert line, f"closed after {len(found)} messages"
            if line.startswith(prefix):
                found.append(json.loads(line[line.index(b"{") :]))
        return found


def publish(port: int, numbers: range) -> None:
    lines = b"\n".join(json.dumps({"channel": "room/a", "data": {"n": n}}).encode() for n in numbers)
    headers = {"Content-Type": "application/x-ndjson"}
    with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/pub", lines, headers)) as answer:
        assert all("id" in json.loads(line) for line in answer.read().splitlines())


def test_clients_that_are_cut_receive_all_messages_once_and_in_order(tmp_path: Path) -> None:
    file = tmp_path / "pushd.toml"
    file.write_text('[dialects.bayeux]\nhosts = ["a.example.org", "192.0.2.7"]\nmax_inactive = 3600\n')
    daemon = Daemon(tmp_path, "--dialects", "bayeux", "--config", str(file))
    relays = [CuttingRelay(daemon.http_port) for _ in CLIENTS]
    try:
        with ExitStack() as stack:
            subscribers = [
                stack.enter_context(Subscriber(library, transport, relay.port, "/room/a"))
                for (library, transport), relay in zip(CLIENTS, relays, strict=True)
            ]
            others = Others(daemon)
            stack.callback(others.close)
            for subscriber in subscribers:
                assert subscriber.wait_for(1)[:1] == ["ready"], subscriber.name
            for number in range(ROUNDS):
                publish(daemon.http_port, range(number * PER_ROUND, (number + 1) * PER_ROUND))
                for relay in relays:
                    relay.cut()
            expected = [{"n": n} for n in range(ROUNDS * PER_ROUND)]
            for subscriber in subscribers:
                received = [json.loads(line) for line in subscriber.wait_for(len(expected) + 1)[1:]]
                assert received == expected, subscriber.name
                assert subscriber.lines.count("handshake") == 1, subscriber.name
            assert others.sse(len(expected)) == others.tcp(len(expected)) == expected
        daemon.assert_healthy()
    finally:
        for relay in relays:
            relay.close()
        daemon.stop()


def test_clients_receive_all_messages_once_and_in_order_over_kills_of_the_daemon(tmp_path: Path) -> None:
    daemon = DurableDaemon(tmp_path, "--dialects", "bayeux")
    relays = [CuttingRelay(daemon.http_port) for _ in KILLED]
    try:
        with ExitStack() as stack:
            subscribers = [
                stack.enter_context(Subscriber(library, transport, relay.port, "/room/a"))
                for (library, transport), relay in zip(KILLED, relays, strict=True)
            ]
            for subscriber in subscribers:
                assert subscriber.wait_for(1)[:1] == ["ready"], subscriber.name
            for number in range(KILLS):
                publish(daemon.http_port, range(number * PER_ROUND, (number + 1) * PER_ROUND))
                daemon.kill()
                daemon = DurableDaemon(tmp_path, "--dialects", "bayeux")
                for relay in relays:
                    relay.turn_to(daemon.http_port)
            publish(daemon.http_port, range(KILLS * PER_ROUND, KILLS * PER_ROUND + 1))
            expected = [{"n": n} for n in range(KILLS * PER_ROUND + 1)]
            for subscriber in subscribers:
                received = [json.loads(line) for line in subscriber.wait_for(len(expected) + 1)[1:]]
                assert received == expected, subscriber.name
                assert subscriber.lines.count("handshake") == 1, subscriber.name
        daemon.assert_healthy()
    finally:
        for relay in relays:
            relay.close()
        daemon.stop()
