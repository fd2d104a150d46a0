"""Genuine clients of Bayeux that are cut again and again receive everything once and in order."""

import json
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.daemon.real import Daemon
from tests.system.bayeux import CuttingRelay, Subscriber

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


def publish(port: int, numbers: range) -> None:
    lines = b"\n".join(json.dumps({"channel": "room/a", "data": {"n": n}}).encode() for n in numbers)
    headers = {"Content-Type": "application/x-ndjson"}
    with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/pub", lines, headers)) as answer:
        assert all("id" in json.loads(line) for line in answer.read().splitlines())


def test_clients_that_are_cut_receive_all_messages_once_and_in_order(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, "--dialects", "bayeux")
    relay = CuttingRelay(daemon.http_port)
    try:
        with ExitStack() as stack:
            subscribers = [
                stack.enter_context(Subscriber(library, transport, relay.port, "/room/a"))
                for library, transport in CLIENTS
            ]
            for subscriber in subscribers:
                assert subscriber.wait_for(1, 20)[:1] == ["ready"], subscriber.name
            for number in range(ROUNDS):
                publish(daemon.http_port, range(number * PER_ROUND, (number + 1) * PER_ROUND))
                time.sleep(0.05)
                relay.cut()
            expected = [{"n": n} for n in range(ROUNDS * PER_ROUND)]
            for subscriber in subscribers:
                received = [json.loads(line) for line in subscriber.wait_for(len(expected) + 1)[1:]]
                assert received == expected, subscriber.name
                assert subscriber.lines.count("handshake") == 1, subscriber.name
            assert relay.cuts >= ROUNDS * len(CLIENTS)
        daemon.assert_healthy()
    finally:
        relay.close()
        daemon.stop()
