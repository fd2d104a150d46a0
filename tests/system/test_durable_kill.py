"""Nothing that was acknowledged or that anybody heard is lost when the daemon is killed, whenever that is."""

import json
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.clients import Http, Lines
from tests.system.durable import GENEROUS, DurableDaemon
from tests.system.fork_server import ForkServer

pytestmark = pytest.mark.system

LONGEST = 0.25
"""Seconds from a start to a kill."""


class Publisher(threading.Thread):
    """Publishes messages with numbers until the daemon is gone, and remembers what was acknowledged."""

    def __init__(self, name: str, first: int) -> None:
        super().__init__(name=name, daemon=True)
        self.number = first
        self.acknowledged: list[tuple[str, str, str]] = []
        """Id, channel and text."""

    def texts(self, count: int) -> Iterator[tuple[str, str]]:
        """Give the next messages: channel and text."""
        for _ in range(count):
            self.number += 1
            yield f"{self.name}/{self.number % 3}", f"{self.name} {self.number}"


class LinePublisher(Publisher):
    """By TCP lines, many on their way at a time."""

    def __init__(self, name: str, first: int, port: int, window: int) -> None:
        super().__init__(name, first)
        self.port = port
        self.window = window

    def run(self) -> None:
        """Publish."""
        try:
            with Lines(self.port) as lines:
                while True:
                    sent = list(self.texts(self.window))
                    lines.send(b"".join(f"PUB {channel} {text}\r\n".encode() for channel, text in sent))
                    for channel, text in sent:
                        answer = lines.line().decode()
                        if not answer.endswith("\n"):
                            return
                        assert answer.startswith("+OK "), answer
                        self.acknowledged.append((answer.split()[1], channel, text))
        except OSError:
            pass


class HttpPublisher(Publisher):
    """By HTTP: one message a request, or a batch."""

    def __init__(self, name: str, first: int, port: int, batch: int) -> None:
        super().__init__(name, first)
        self.port = port
        self.batch = batch

    def run(self) -> None:
        """Publish."""
        try:
            with Http(self.port) as http:
                while True:
                    sent = list(self.texts(self.batch))
                    body = "\n".join(json.dumps({"channel": channel, "data": text}) for channel, text in sent).encode()
                    answer = http.request("POST", "/pub", {"Content-Type": "application/x-ndjson"}, body)
                    receipts = [json.loads(line)["id"] for line in answer.body.splitlines()]
                    assert len(receipts) == len(sent)
                    self.acknowledged += [(id, *each) for id, each in zip(receipts, sent, strict=True)]
        except (OSError, AssertionError, ValueError):
            pass  # cut off in the middle of an answer


class Subscriber(threading.Thread):
    """Hears everything from where it left off, and remembers it."""

    def __init__(self, port: int, cursor: str) -> None:
        super().__init__(daemon=True)
        self.lines = Lines(port)
        self.lines.send(f"FORMAT json\r\nSUB ** since={cursor}\r\n".encode())
        self.heard: list[Any] = []

    def run(self) -> None:
        """Hear."""
        try:
            while (line := self.lines.line()).endswith(b"\n"):
                if line.startswith(b"{"):
                    self.heard.append(json.loads(line))
                else:
                    assert line.startswith(b"+OK"), line
        except OSError:
            pass


@pytest.fixture(scope="module")
def fork_server() -> Iterator[ForkServer]:
    """A server that starts daemons without the time for imports."""
    fork_server = ForkServer()
    yield fork_server
    fork_server.close()


@pytest.mark.parametrize(
    ("sync", "rounds"),
    [
        ("normal", 4),
        ("full", 2),
        pytest.param("normal", 40, marks=pytest.mark.slow),
        pytest.param("full", 40, marks=pytest.mark.slow),
    ],
)
def test_what_was_acknowledged_or_heard_survives_every_kill_in_order_and_once(
    tmp_path: Path, fork_server: ForkServer, sync: str, rounds: int
) -> None:
    chance = random.Random(sync)
    options = (*GENEROUS, "--backend-sync", sync)
    acknowledged: list[tuple[str, str, str]] = []
    heard: list[Any] = []
    cursor = "all"
    for number in range(rounds):
        daemon = DurableDaemon(tmp_path, *options, fork_server=fork_server)
        first = number * 1_000_000
        publishers = [
            LinePublisher("lines", first, daemon.tcp_port, 20),
            LinePublisher("line", first, daemon.tcp_port, 1),
            HttpPublisher("batch", first, daemon.http_port, 5),
            HttpPublisher("post", first, daemon.http_port, 1),
        ]
        subscriber = Subscriber(daemon.tcp_port, cursor)
        threads = [*publishers, subscriber]
        for thread in threads:
            thread.start()
        time.sleep(chance.uniform(0.01, LONGEST))
        daemon.kill()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
        for publisher in publishers:
            acknowledged += publisher.acknowledged
        heard += subscriber.heard
        cursor = subscriber.heard[-1]["id"] if subscriber.heard else cursor
    daemon = DurableDaemon(tmp_path, *options, fork_server=fork_server)
    kept: list[Any] = []
    try:
        since = "all"
        while page := daemon.request("GET", f"/history/**?since={since}&limit=10000").json():
            kept += page
            since = page[-1]["id"]
        daemon.assert_healthy()
    finally:
        daemon.stop()
    by_id = {message["id"]: message for message in kept}
    assert len(acknowledged) > 20 * rounds
    assert len(by_id) == len(kept), "an id is given once"
    assert [message["data"] for message in kept] == list(dict.fromkeys(message["data"] for message in kept))
    for id, channel, text in acknowledged:
        assert id in by_id, f"{text} was acknowledged as {id} and is lost"
        assert (by_id[id]["channel"], by_id[id]["data"]) == (channel, text)
    seqs = [int(message["id"].partition("-")[2]) for message in kept]
    assert seqs == sorted(seqs)
    for name in ("lines", "line", "batch", "post"):
        numbers = [int(each["data"].split()[1]) for each in kept if each["data"].startswith(f"{name} ")]
        assert numbers == sorted(numbers), "each publisher's messages are in its order"
    assert [message.get("type") for message in heard if "type" in message] == [], "no gap is told where none is"
    assert [message["id"] for message in heard] == [message["id"] for message in kept[: len(heard)]]
