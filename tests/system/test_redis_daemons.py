"""Daemons that share a Redis, as processes: one dies amid its work, several share a port, Redis itself goes away."""

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


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that loses nothing."""
    server = RedisServer(tmp_path / "redis", "--appendonly", "yes", "--appendfsync", "always").start()
    yield server
    server.kill()


@pytest.fixture
def daemon(tmp_path: Path, redis: RedisServer) -> Iterator[Callable[..., Daemon]]:
    """Start a daemon on the Redis."""
    running: list[Daemon] = []

    def start(*options: str) -> Daemon:
        folder = tmp_path / f"node{len(running)}"
        folder.mkdir()
        running.append(Daemon(folder, "--redis", redis.url, *options))
        one = running[-1]
        assert eventually(lambda: one.request("GET", "/health/ready").status == 200, 10), one.log
        return one

    yield start
    for each in running:
        if each.is_alive:
            each.assert_healthy()
            each.stop()


class Listener(threading.Thread):
    """A line connection that notes what it hears: ids and texts."""

    def __init__(self, lines: Lines, topics: str) -> None:
        super().__init__(daemon=True)
        assert lines.command(f"SUB {topics}".encode()).startswith(b"+OK")
        self._lines = lines
        self.heard: list[tuple[str, str]] = []
        self.gaps: list[str] = []
        self.start()

    def run(self) -> None:
        """Read until the connection is closed."""
        while line := self._read():
            words = line.decode().rstrip("\r\n").split(" ", 3)
            if words[0] == "MSG":
                self.heard.append((words[2], words[3]))
            elif words[0] == "GAP":
                self.gaps.append(line.decode())

    def _read(self) -> bytes:
        try:
            return self._lines._file.readline()
        except (OSError, ValueError):
            return b""

    @property
    def texts(self) -> list[str]:
        """Give what was said."""
        return [text for _, text in self.heard]

    @property
    def is_in_order(self) -> bool:
        """Tell whether ids only grow."""
        seqs = [int(id.rpartition("-")[2]) for id, _ in self.heard]
        return seqs == sorted(set(seqs))


def test_what_a_node_accepted_before_it_was_killed_is_heard_by_all_others(daemon: Callable[..., Daemon]) -> None:
    dying, one, other = daemon(), daemon(), daemon()
    listeners = []
    for node, topics in ((one, "many/a"), (one, "many/*"), (other, "many/a,many/b,many/c")):
        lines = node.lines()
        lines.socket.settimeout(None)
        listeners.append(Listener(lines, topics))
    publisher = dying.lines()
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
        except (OSError, AssertionError):
            return

    thread = threading.Thread(target=publish)
    thread.start()
    assert eventually(lambda: len(accepted) >= MANY // 2, 30)
    os.kill(dying.pid, signal.SIGKILL)
    thread.join(10)
    assert MANY // 2 <= len(accepted) < MANY
    one.publish("many/a", b"last")
    channels = {text: channel for channel, text in sent}
    for listener, names in zip(listeners, ("a", "abc", "abc"), strict=True):
        wanted = {text for text in accepted if channels[text][-1] in names}
        assert eventually(lambda: "last" in listener.texts[-1:], 10)  # noqa: B023
        heard = [text for text in listener.texts if text != "last"]
        assert len(heard) == len(set(heard))
        assert wanted <= set(heard) <= channels.keys()
        assert [text for text in heard if text in wanted] == [text for text in accepted if text in wanted]
        assert listener.is_in_order and not listener.gaps
    assert listeners[1].texts == listeners[2].texts
    assert one.request("GET", "/pub/many%2Fa").json()["subscribers"] == 3


def test_while_redis_is_away_health_is_red_and_publishes_are_refused(
    daemon: Callable[..., Daemon], redis: RedisServer
) -> None:
    one, other = daemon("--backend-publish-timeout", "500ms"), daemon("--backend-publish-timeout", "500ms")
    lines = one.lines()
    lines.socket.settimeout(None)
    listener = Listener(lines, "a")
    publisher = other.lines()
    assert publisher.command(b"PUB a before").startswith(b"+OK")
    redis.kill()
    assert eventually(lambda: one.request("GET", "/health/ready").status == 503)
    assert "Redis is unavailable" in one.request("GET", "/health/ready").json()["reason"]
    metrics = one.request("GET", "/metrics")
    assert (metrics.status, b"\npushd_backend_up 0.0\n" in metrics.body) == (200, True)
    assert b"pushd_history_messages" not in metrics.body
    refused = one.request("POST", "/pub/a", None, b"x")
    assert (refused.status, refused.code, refused.headers["retry-after"]) == (503, "unavailable", "1")
    assert publisher.command(b"PUB a x").startswith(b"-ERR unavailable Redis is unavailable")
    assert publisher.command(b"SUB a").startswith(b"-ERR unavailable")
    assert one.request("GET", "/longpoll/a?timeout=1").status == 503
    come_back = one.request("GET", "/sse/a")
    assert (come_back.status, come_back.headers["content-type"]) == (200, "text/event-stream")
    wait = re.fullmatch(rb":\nretry: ([0-9]+)\n", come_back.body)
    assert wait and 1000 <= int(wait[1]) <= 2000
    redis.start()
    assert eventually(lambda: all(each.request("GET", "/health/ready").status == 200 for each in (one, other)), 10)
    assert publisher.command(b"PUB a after").startswith(b"+OK")
    assert eventually(lambda: listener.texts == ["before", "after"])
    assert not listener.gaps
    assert one.counter("pushd_history_messages") == 2
    assert 0 <= one.counter("pushd_canary_age_seconds") < 4


def test_local_delivery_is_said_in_every_answer(daemon: Callable[..., Daemon], redis: RedisServer) -> None:
    one = daemon("--backend-publish-timeout", "300ms", "--backend-when-away", "local")
    lines = one.lines()
    lines.socket.settimeout(None)
    listener = Listener(lines, "a")
    before = one.publish("a", b"before")
    assert eventually(lambda: listener.texts == ["before"])
    redis.kill()
    assert eventually(lambda: one.request("GET", "/health/ready").status == 503)
    assert one.publish("a", b"local") == {"id": before["id"], "channel": "a", "subscribers": 1, "local": True}
    assert one.lines().command(b"PUB a line") == f"+OK {before['id']} 1 local".encode()
    with one.websocket() as socket:
        socket.send(json.dumps({"publish": "a", "data": "socket"}))
        answer = json.loads(socket.recv())
        assert (answer["ok"], answer["local"]) == (True, True)
    assert eventually(lambda: listener.texts == ["before", "local", "line", "socket"])


def test_daemons_share_a_port_and_are_one(daemon: Callable[..., Daemon]) -> None:
    http, tcp = free_port(), free_port()
    shared = (
        *("--http", f"tcp:{http}:interface=127.0.0.1", "--http-reuse-port", "yes"),
        *("--tcp", f"tcp:{tcp}:interface=127.0.0.1", "--tcp-reuse-port", "yes"),
    )
    nodes = [daemon(*shared), daemon(*shared)]
    listeners = []
    for _ in range(20):
        lines = Lines(tcp)
        lines.socket.settimeout(None)
        listeners.append(Listener(lines, "a"))
    assert nodes[0].publish("a", b"x")["subscribers"] < 20
    assert eventually(lambda: all(listener.texts == ["x"] for listener in listeners))
    assert nodes[1].request("GET", "/pub/a").json()["transports"] == {"tcp": 20}
    for node in nodes:
        assert f"http listens on 127.0.0.1:{http}" in node.log


def test_a_password_is_never_logged(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    folder.mkdir()
    node = Daemon(folder, "--redis", f"redis://somebody:s3cret@127.0.0.1:{free_port()}/3")
    assert node.wait_for_log("no connection")
    node.stop()
    assert "s3cret" not in node.log
