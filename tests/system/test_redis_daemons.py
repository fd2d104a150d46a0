"""Daemon processes that share a Redis: a node is killed, several share a port, Redis is unavailable."""

import json
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.backends.redis_server import RedisServer, free_port
from tests.daemon.clients import Lines
from tests.daemon.real import Daemon, eventually

pytestmark = pytest.mark.system

MANY = 10_000
BEFORE_KILL = MANY // 2 + 50
"""The messages that are accepted before the kill: some that were sent with them are not."""
SECONDS = 30.0
"""In which everything happens that has to, even on a busy machine."""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that loses no writes."""
    server = RedisServer(tmp_path / "redis", "--appendonly", "yes", "--appendfsync", "always").start()
    yield server
    server.kill()


@pytest.fixture
def daemon(tmp_path: Path, redis: RedisServer) -> Iterator[Callable[..., Daemon]]:
    """Start nodes, which are stopped after the test."""
    running: list[Daemon] = []

    def start(*options: str) -> Daemon:
        folder = tmp_path / f"node{len(running)}"
        folder.mkdir()
        running.append(Daemon(folder, "--redis", redis.url, *options))
        first = running[-1]
        assert eventually(lambda: first.request("GET", "/health/ready").status == 200, SECONDS), first.log
        return first

    yield start
    for each in running:
        if each.is_alive:
            each.assert_healthy()
            each.stop()


class LineSubscriber(threading.Thread):
    """A TCP line connection that records the ids and texts it receives."""

    def __init__(self, lines: Lines, topics: str) -> None:
        super().__init__(daemon=True)
        assert lines.command(f"SUB {topics}".encode()).startswith(b"+OK")
        self._lines = lines
        self.received: list[tuple[str, str]] = []
        self.gaps: list[str] = []
        self.start()

    def run(self) -> None:
        """Read until the connection is closed."""
        while line := self._read():
            words = line.decode().rstrip("\r\n").split(" ", 3)
            if words[0] == "MSG":
                self.received.append((words[2], words[3]))
            elif words[0] == "GAP":
                self.gaps.append(line.decode())

    def _read(self) -> bytes:
        try:
            return self._lines._file.readline()
        except (OSError, ValueError):
            return b""

    @property
    def texts(self) -> list[str]:
        """The received texts."""
        return [text for _, text in self.received]

    @property
    def is_in_order(self) -> bool:
        """Whether the ids increase."""
        seqs = [int(id.rpartition("-")[2]) for id, _ in self.received]
        return seqs == sorted(set(seqs))


def test_other_nodes_deliver_what_a_killed_node_accepted(daemon: Callable[..., Daemon]) -> None:
    killed, first, second = daemon(), daemon(), daemon()
    subscribers = []
    for node, topics in ((first, "many/a"), (first, "many/*"), (second, "many/a,many/b,many/c")):
        lines = node.lines()
        lines.socket.settimeout(None)
        subscribers.append(LineSubscriber(lines, topics))
    publisher = killed.lines()
    sent = [(f"many/{'abc'[number % 3]}", f"text{number}") for number in range(MANY)]
    accepted: list[str] = []

    def publish() -> None:
        try:
            for begin in range(0, MANY, 100):
                part = sent[begin : begin + 100]
                publisher.send(b"".join([f"PUB {channel} {text}\r\n".encode() for channel, text in part]))
                for _, text in part:
                    if not publisher.reply().startswith(b"+OK"):
                        return
                    accepted.append(text)
                    if len(accepted) == BEFORE_KILL:
                        os.kill(killed.pid, signal.SIGKILL)
        except (OSError, AssertionError):
            return

    thread = threading.Thread(target=publish)
    thread.start()
    thread.join(SECONDS)
    assert BEFORE_KILL <= len(accepted) < MANY
    first.publish("many/a", b"last")
    channels = {text: channel for channel, text in sent}
    for subscriber, names in zip(subscribers, ("a", "abc", "abc"), strict=True):
        expected = {text for text in accepted if channels[text][-1] in names}
        assert eventually(lambda: "last" in subscriber.texts[-1:], SECONDS)  # noqa: B023
        received = [text for text in subscriber.texts if text != "last"]
        assert len(received) == len(set(received))
        assert expected <= set(received) <= channels.keys()
        assert [text for text in received if text in expected] == [text for text in accepted if text in expected]
        assert subscriber.is_in_order and not subscriber.gaps
    assert subscribers[1].texts == subscribers[2].texts
    assert first.request("GET", "/pub/many%2Fa").json()["subscribers"] == 3


def test_redis_outage_is_reported_and_publishes_are_refused(daemon: Callable[..., Daemon], redis: RedisServer) -> None:
    first, second = daemon("--backend-publish-timeout", "3s"), daemon("--backend-publish-timeout", "3s")
    lines = first.lines()
    lines.socket.settimeout(None)
    subscriber = LineSubscriber(lines, "a")
    publisher = second.lines()
    assert publisher.command(b"PUB a before").startswith(b"+OK")
    redis.kill()
    assert eventually(lambda: first.request("GET", "/health/ready").status == 503, SECONDS)
    assert "Redis is unavailable" in first.request("GET", "/health/ready").json()["reason"]
    metrics = first.request("GET", "/metrics")
    assert (metrics.status, b"\npushd_backend_up 0.0\n" in metrics.body) == (200, True)
    assert b"pushd_history_messages" not in metrics.body
    refused = first.request("POST", "/pub/a", None, b"x")
    assert (refused.status, refused.code, refused.headers["retry-after"]) == (503, "unavailable", "1")
    assert publisher.command(b"PUB a x").startswith(b"-ERR unavailable Redis is unavailable")
    assert publisher.command(b"SUB a").startswith(b"-ERR unavailable")
    assert first.request("GET", "/longpoll/a?timeout=1").status == 503
    reconnect = first.request("GET", "/sse/a")
    assert (reconnect.status, reconnect.headers["content-type"]) == (200, "text/event-stream")
    wait = re.fullmatch(rb":\nretry: ([0-9]+)\n", reconnect.body)
    assert wait and 1000 <= int(wait[1]) <= 2000
    redis.start()
    assert eventually(
        lambda: all(each.request("GET", "/health/ready").status == 200 for each in (first, second)), SECONDS
    )
    assert publisher.command(b"PUB a after").startswith(b"+OK")
    assert eventually(lambda: subscriber.texts == ["before", "after"], SECONDS)
    assert not subscriber.gaps
    assert first.counter("pushd_history_messages") == 2
    assert eventually(lambda: 0 <= first.counter("pushd_canary_age_seconds") < 4, SECONDS)


def test_local_delivery_is_marked_in_receipts(daemon: Callable[..., Daemon], redis: RedisServer) -> None:
    first = daemon("--backend-publish-timeout", "2s", "--backend-when-away", "local")
    lines = first.lines()
    lines.socket.settimeout(None)
    subscriber = LineSubscriber(lines, "a")
    before = first.publish("a", b"before")
    assert eventually(lambda: subscriber.texts == ["before"], SECONDS)
    redis.kill()
    assert eventually(lambda: first.request("GET", "/health/ready").status == 503, SECONDS)
    assert first.publish("a", b"local") == {"id": before["id"], "channel": "a", "subscribers": 1, "local": True}
    assert first.lines().command(b"PUB a line") == f"+OK {before['id']} 1 local".encode()
    with first.websocket() as socket:
        socket.send(json.dumps({"publish": "a", "data": "socket"}))
        answer = json.loads(socket.recv())
        assert (answer["ok"], answer["local"]) == (True, True)
    assert eventually(lambda: subscriber.texts == ["before", "local", "line", "socket"], SECONDS)


def test_nodes_share_a_port(daemon: Callable[..., Daemon]) -> None:
    http, tcp = free_port(), free_port()
    shared = (
        *("--http", f"tcp:{http}:interface=127.0.0.1", "--http-reuse-port", "yes"),
        *("--tcp", f"tcp:{tcp}:interface=127.0.0.1", "--tcp-reuse-port", "yes"),
    )
    nodes = [daemon(*shared), daemon(*shared)]
    subscribers = []
    for _ in range(20):
        lines = Lines(tcp)
        lines.socket.settimeout(None)
        subscribers.append(LineSubscriber(lines, "a"))
    assert nodes[0].publish("a", b"x")["subscribers"] < 20
    assert eventually(lambda: all(subscriber.texts == ["x"] for subscriber in subscribers), SECONDS)
    assert nodes[1].request("GET", "/pub/a").json()["transports"] == {"tcp": 20}
    for node in nodes:
        assert f"http listens on 127.0.0.1:{http}" in node.log


def test_password_is_not_logged(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    folder.mkdir()
    node = Daemon(folder, "--redis", "redis://user:s3cret@127.0.0.1:1/3")
    assert eventually(lambda: "no connection" in node.log, SECONDS)
    node.stop()
    assert "s3cret" not in node.log
