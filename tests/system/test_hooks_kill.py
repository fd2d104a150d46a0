"""Every event of an acknowledged publish reaches a receiver that fails, while the daemon is killed at any moment."""

import base64
import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from tests.backends.redis_server import RedisServer
from tests.backends.sentinels import Watched
from tests.daemon.clients import Lines
from tests.daemon.real import Daemon, eventually
from tests.system.durable import NO_EVICTION, DurableDaemon
from tests.system.test_durable_kill import HttpPublisher, LinePublisher

pytestmark = pytest.mark.system

SECRET = f"whsec_{base64.b64encode(os.urandom(32)).decode()}"


class Receiver:
    """A receiver that confirms most batches, refuses some, and closes without a response or in the middle of one."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.failing = 0.3
        """The share of requests that fail."""
        self.confirmed: list[dict[str, Any]] = []
        self.batches: dict[str, bytes] = {}
        """The bodies by `webhook-id`."""
        self.problems: list[str] = []
        self._lock = threading.Lock()
        self.under_way = self.most = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.receive(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def receive(self, request: BaseHTTPRequestHandler) -> None:
        """Answer a request."""
        with self._lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        try:
            answer = self._answer(request)
        finally:
            with self._lock:
                self.under_way -= 1  # before the answer, after which the next request may come at once
        request.wfile.write(answer)

    def _answer(self, request: BaseHTTPRequestHandler) -> bytes:
        """Return the response, which may be empty or a part of one."""
        body = request.rfile.read(int(request.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in request.headers.items()}
        events = Webhook(SECRET).verify(body, headers)["events"]
        with self._lock:
            if self.batches.setdefault(headers["webhook-id"], body) != body:
                self.problems.append("one webhook-id, two bodies")
            if not 1 <= len(events) <= 100:
                self.problems.append(f"{len(events)} events in a batch")
            outcome = self.chance.random()
            if outcome >= self.failing:
                self.confirmed += events
        if outcome < self.failing / 3:
            return b""  # closes without a response
        if outcome < self.failing:
            return b"HTTP/1.0 500 X\r\n\r\n" if outcome < self.failing / 2 else b"HTTP/1.0 20"
        return b"HTTP/1.0 204 X\r\n\r\n"

    def close(self) -> None:
        """Stop."""
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver."""
    receiver = Receiver(random.Random(7))
    yield receiver
    receiver.close()


def configure(folder: Path, port: int, *events: str) -> Path:
    """Write a configuration with a hook; return the file."""
    (folder / "hook.secret").write_text(SECRET)
    file = folder / "pushd.toml"
    file.write_text(
        f'[hook.app]\nurl = "http://127.0.0.1:{port}/"\nevents = {json.dumps(events)}\n'
        f'secret_files = ["{folder / "hook.secret"}"]\n'
    )
    return file


def publish_until_killed(daemon: DurableDaemon, first: int, count: int) -> list[tuple[str, str, str]]:
    """Kill a daemon once it has acknowledged `count` messages; return all that it has: id, channel and text."""
    publishers = [
        LinePublisher("lines", first, daemon.tcp_port, 20),
        HttpPublisher("batch", first, daemon.http_port, 5),
    ]
    for publisher in publishers:
        publisher.start()
    assert eventually(lambda: sum(len(publisher.acknowledged) for publisher in publishers) >= count, 30.0)
    daemon.kill()
    for publisher in publishers:
        publisher.join(10)
        assert not publisher.is_alive()
    return [each for publisher in publishers for each in publisher.acknowledged]


@pytest.mark.parametrize("rounds", [4, pytest.param(40, marks=pytest.mark.slow)])
def test_every_acknowledged_publish_is_reported(tmp_path: Path, receiver: Receiver, rounds: int) -> None:
    chance = random.Random(11)
    file = configure(tmp_path, receiver.server.server_port, "publish")
    options = (*NO_EVICTION, "--config", str(file))
    acknowledged: list[tuple[str, str, str]] = []
    for number in range(rounds):
        daemon = DurableDaemon(tmp_path, *options)
        # Counted, not timed: a fast machine must not publish more than a backlog of 100,000 events holds.
        acknowledged += publish_until_killed(daemon, number * 1_000_000, chance.randrange(20, 1000))
    daemon = DurableDaemon(tmp_path, *options)
    try:
        receiver.failing = 0.05
        ids = {id for id, _, _ in acknowledged}

        def missing() -> set[str]:
            return ids - {event["message"]["id"] for event in list(receiver.confirmed)}

        def state() -> Any:
            return daemon.request("GET", "/hooks/app").json()

        left = len(missing())
        while left and eventually(lambda: len(missing()) < left, 60.0):  # noqa: B023
            left = len(missing())
        assert not left, (f"nothing arrived for 60 s, {left} missing", sorted(missing())[:10], state())
        assert eventually(lambda: state()["backlog"] == 0, 10.0), state()
        assert state()["dead"] == 0
        daemon.assert_healthy()
    finally:
        daemon.stop()
    assert len(acknowledged) >= 20 * rounds
    assert receiver.problems == []
    once = {event["id"]: event for event in receiver.confirmed}
    assert len({event["message"]["id"] for event in once.values()}) == len(once), "ids are stable"
    by_channel: dict[str, list[int]] = {}
    for event in once.values():
        by_channel.setdefault(event["channel"], []).append(int(event["message"]["id"].partition("-")[2]))
    assert all(seqs == sorted(seqs) for seqs in by_channel.values()), "in order per channel"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis."""
    redis = RedisServer(tmp_path / "redis").start()
    yield redis
    redis.kill()


def start_node(folder: Path, name: str, file: Path, url: str) -> Daemon:
    """Start a node on a Redis."""
    (folder / name).mkdir(exist_ok=True)
    return Daemon(folder / name, "--config", str(file), "--redis", url)


@pytest.mark.slow
def test_nodes_on_one_redis(tmp_path: Path, receiver: Receiver, redis: RedisServer) -> None:
    file = configure(tmp_path, receiver.server.server_port, "publish", "occupied", "vacated", "enter", "leave")
    receiver.failing = 0.1
    nodes = [start_node(tmp_path, name, file, redis.url) for name in ("a", "b")]
    published: list[str] = []

    def publish(node: Daemon, count: int) -> None:
        for number in range(count):
            published.append(node.publish(f"room/{number % 3}", str(number).encode())["id"])

    def sender() -> int:
        """Return the index of the node that sends."""
        states = [node.request("GET", "/hooks/app").json()["state"] for node in nodes]
        return next((index for index, state in enumerate(states) if state != "standby"), -1)

    try:
        for node in nodes:
            publish(node, 30)
            node.request("PUT", "/presence/room/alice?ttl=300", {}, b"{}")
        assert eventually(lambda: sender() >= 0, 10.0)
        killed = sender()
        os.kill(nodes[killed].pid, signal.SIGKILL)
        other = nodes[1 - killed]
        publish(other, 30)
        since = time.monotonic()

        def ids(kind: str) -> set[str]:
            return {event["message"]["id"] for event in list(receiver.confirmed) if event["type"] == kind}

        assert eventually(lambda: set(published) <= ids("publish"), 30.0)
        assert time.monotonic() - since < 20
        with Lines(other.tcp_port) as one, Lines(other.tcp_port) as two:
            for each in (one, two):
                each.send(b"SUB room/9\r\n")
                while not (line := each.line()).startswith(b"+OK"):
                    assert line
        assert eventually(lambda: "vacated" in [event["type"] for event in list(receiver.confirmed)], 15.0)
        other.assert_healthy()
    finally:
        for node in nodes:
            if node.is_alive:
                node.stop()
    assert receiver.problems == []
    assert receiver.most == 1
    once = list({event["id"]: event for event in receiver.confirmed}.values())
    facts = [(event["type"], event["channel"], event.get("member")) for event in once if event["type"] != "publish"]
    assert facts == [("enter", "room", "alice"), ("occupied", "room/9", None), ("vacated", "room/9", None)]
    for channel in ("room/0", "room/1", "room/2"):
        seqs = [int(event["message"]["id"].partition("-")[2]) for event in once if event["channel"] == channel]
        assert seqs == sorted(seqs)


def subscribe(node: Daemon, *channels: bytes) -> Lines:
    """Subscribe to channels over TCP."""
    lines = Lines(node.tcp_port)
    for channel in channels:
        lines.send(b"SUB " + channel + b"\r\n")
        while not (line := lines.line()).startswith(b"+OK"):
            assert line
    return lines


@pytest.mark.slow
def test_channels_of_killed_and_frozen_nodes_are_vacated(
    tmp_path: Path, receiver: Receiver, redis: RedisServer
) -> None:
    file = configure(tmp_path, receiver.server.server_port, "occupied", "vacated")
    receiver.failing = 0.0
    nodes = [start_node(tmp_path, name, file, redis.url) for name in ("killed", "frozen", "other")]

    def facts() -> list[tuple[str, str]]:
        """Return the types and channels of all events that were received, sorted."""
        once = {event["id"]: event for event in list(receiver.confirmed)}.values()
        return sorted((event["type"], event["channel"]) for event in once)

    killed, frozen, other = nodes
    streams = [subscribe(killed, b"room/killed", b"room/all")]
    try:
        streams += [subscribe(frozen, b"room/frozen", b"room/all"), subscribe(other, b"room/all")]
        occupied = [("occupied", f"room/{name}") for name in ("all", "frozen", "killed")]
        assert eventually(lambda: facts() == occupied, 30.0), facts()
        os.kill(killed.pid, signal.SIGKILL)
        os.kill(frozen.pid, signal.SIGSTOP)
        vacated = [("vacated", "room/frozen"), ("vacated", "room/killed")]
        assert eventually(lambda: facts() == occupied + vacated, 30.0), facts()
        os.kill(frozen.pid, signal.SIGCONT)
        again = sorted([*occupied, ("occupied", "room/frozen"), *vacated])
        assert eventually(lambda: facts() == again, 30.0), facts()
        other.assert_healthy()
    finally:
        os.kill(frozen.pid, signal.SIGCONT)
        for stream in streams:
            stream.__exit__(None, None, None)
        for node in nodes:
            if node.is_alive:
                node.stop()
    assert receiver.problems == []


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """A Redis with a replica, and Sentinels."""
    watched = Watched(tmp_path)
    try:
        assert eventually(watched.is_ready, 20.0)
        yield watched
    finally:
        watched.kill()


@pytest.mark.slow
def test_redis_fails_over(tmp_path: Path, receiver: Receiver, watched: Watched) -> None:
    """Each event that the replica has, or that came later, arrives in order; a replay at any node ends the pause."""
    file = configure(tmp_path, receiver.server.server_port, "publish", "enter")
    receiver.failing = 1.0
    published: list[tuple[str, str]] = []

    def publish(node: Daemon, count: int) -> None:
        """Publish, and repeat what is refused while Redis fails over."""
        for number in range(count):
            channel = f"room/{number % 3}"

            def is_accepted(channel: str = channel) -> bool:
                answer = node.request("POST", f"/pub/{channel}", {}, b"x")
                if answer.status < 300:
                    published.append((channel, answer.json()["id"]))
                return answer.status < 300

            assert eventually(is_accepted, 30.0)

    nodes: list[Daemon] = []
    try:
        nodes += [start_node(tmp_path, name, file, watched.url) for name in ("a", "b")]
        for node in nodes:
            publish(node, 60)
        nodes[0].request("PUT", "/presence/room/0/alice?ttl=300", {}, b"{}")
        queue = "pushd:hooks:queue:app"
        assert watched.master.ask("XLEN", queue) == 121
        assert eventually(lambda: watched.replica.ask("XLEN", queue) == 121, 20.0), "the events at the replica"
        watched.master.kill()
        assert eventually(watched.is_failed_over, 20.0)
        for node in reversed(nodes):
            publish(node, 60)
        receiver.failing = 0.2

        def state(node: Daemon) -> Any:
            return node.request("GET", "/hooks/app").json()

        assert eventually(lambda: {state(node)["state"] for node in nodes} != {"standby"}, 30.0)
        standby = next(node for node in nodes if state(node)["state"] == "standby")
        assert standby.request("POST", "/hooks/app/replay", {}, b"").status == 200

        def missing() -> int:
            ids = {event["message"]["id"] for event in list(receiver.confirmed) if event["type"] == "publish"}
            return len({id for _, id in published} - ids)

        left = missing()
        while left and eventually(lambda: missing() < left, 60.0):  # noqa: B023
            left = missing()
        assert not left, [state(node) for node in nodes]
        assert state(standby)["dead"] == 0
    finally:
        for node in nodes:
            node.stop()
    assert receiver.problems == []
    assert receiver.most == 1
    once = {event["id"]: event for event in receiver.confirmed}.values()
    assert ("enter", "room/0", "alice") in [(each["type"], each["channel"], each.get("member")) for each in once]
    reported = [(each["channel"], each["message"]["id"]) for each in once if each["type"] == "publish"]
    assert len({id for _, id in reported}) == len(reported), "ids are stable"
    known = set(published)
    for room in range(3):
        in_order = [each for each in published if each[0] == f"room/{room}"]
        assert [each for each in reported if each in known and each[0] == f"room/{room}"] == in_order
