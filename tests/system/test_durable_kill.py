"""No acknowledged or delivered message is lost when the daemon is killed at any moment."""

import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.clients import Http, Lines
from tests.daemon.real import eventually
from tests.system.durable import NO_EVICTION, DurableDaemon

pytestmark = pytest.mark.system

MOST = 800
"""The most messages that are acknowledged from a start to a kill."""


class Publisher(threading.Thread):
    """Publishes numbered messages until the daemon is killed, and records those that were acknowledged."""

    def __init__(self, name: str, first: int) -> None:
        super().__init__(name=name, daemon=True)
        self.number = first
        self.acknowledged: list[tuple[str, str, str]] = []
        """Id, channel and text."""

    def texts(self, count: int) -> Iterator[tuple[str, str]]:
        """Yield the next messages: channel and text."""
        for _ in range(count):
            self.number += 1
            yield f"{self.name}/{self.number % 3}", f"{self.name} {self.number}"


class LinePublisher(Publisher):
    """Publishes over TCP, with many unacknowledged commands."""

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
    """Publishes over HTTP: single messages or batches."""

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
            pass  # killed in the middle of a response


class Subscriber(threading.Thread):
    """Receives all messages after a cursor, and records them."""

    def __init__(self, port: int, cursor: str) -> None:
        super().__init__(daemon=True)
        self.lines = Lines(port)
        self.lines.send(f"FORMAT json\r\nSUB ** since={cursor}\r\n".encode())
        self.received: list[Any] = []

    def run(self) -> None:
        """Receive."""
        try:
            while (line := self.lines.line()).endswith(b"\n"):
                if line.startswith(b"{"):
                    self.received.append(json.loads(line))
                else:
                    assert line.startswith(b"+OK"), line
        except OSError:
            pass


@pytest.mark.parametrize(
    ("sync", "rounds"),
    [
        ("normal", 4),
        ("full", 2),
        pytest.param("normal", 40, marks=pytest.mark.slow),
        pytest.param("full", 40, marks=pytest.mark.slow),
    ],
)
def test_acknowledged_and_delivered_messages_survive_kills(tmp_path: Path, sync: str, rounds: int) -> None:
    chance = random.Random(sync)
    options = (*NO_EVICTION, "--backend-sync", sync)
    acknowledged: list[tuple[str, str, str]] = []
    received: list[Any] = []
    cursor = "all"
    for number in range(rounds):
        daemon = DurableDaemon(tmp_path, *options)
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
        count = chance.randrange(MOST)
        assert eventually(lambda: sum(len(publisher.acknowledged) for publisher in publishers) >= count, 30.0)  # noqa: B023
        daemon.kill()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
        for publisher in publishers:
            acknowledged += publisher.acknowledged
        received += subscriber.received
        cursor = subscriber.received[-1]["id"] if subscriber.received else cursor
    daemon = DurableDaemon(tmp_path, *options)
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
    assert len(by_id) == len(kept), "ids are unique"
    assert [message["data"] for message in kept] == list(dict.fromkeys(message["data"] for message in kept))
    for id, channel, text in acknowledged:
        assert id in by_id, f"{text} was acknowledged as {id} and is lost"
        assert (by_id[id]["channel"], by_id[id]["data"]) == (channel, text)
    seqs = [int(message["id"].partition("-")[2]) for message in kept]
    assert seqs == sorted(seqs)
    for name in ("lines", "line", "batch", "post"):
        numbers = [int(each["data"].split()[1]) for each in kept if each["data"].startswith(f"{name} ")]
        assert numbers == sorted(numbers), "the order of each publisher is preserved"
    assert [message.get("type") for message in received if "type" in message] == [], "no gap is reported"
    assert [message["id"] for message in received] == [message["id"] for message in kept[: len(received)]]
