"""`python -m bench.nodes`: the cost of the Redis backend. Needs redis-server.

1. CPU time of the pushd process per delivery, with 1,000 subscribers on one node: with the memory backend and with
   Redis, alternately in several rounds; the ratio is that of the medians.
2. Publishes per second through the script, from one line connection with 256 unacknowledged commands.
3. The same with 1, 2 and 4 nodes on one Redis, each with a publisher and a subscriber of all messages.
"""

import argparse
import json
import os
import re
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parent.parent
_TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=", "pushd"]
_TICKS = os.sysconf("SC_CLK_TCK")
_DATA = "x" * 100
_WINDOW = 256
_SECONDS = 20.0
"""Timeout of every operation."""


class Node:
    """A `twistd pushd` process on free ports."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._log = folder / f"node{time.monotonic_ns()}.log"
        listen = "tcp:0:interface=127.0.0.1"
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PUSHD_")}
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                [*_TWISTD, "--http", listen, "--tcp", listen, "--log-format", "text", *options],
                cwd=folder,
                env=environ | {"PYTHONPATH": str(_ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self.port = self._find_port()

    @property
    def cpu(self) -> float:
        """CPU time used so far in seconds."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def connect(self) -> socket.socket:
        """Return a connection to the TCP line listener, after reading the greeting."""
        sock = socket.create_connection(("127.0.0.1", self.port), _SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not sock.recv(4096).endswith(b"\n"):
            pass
        return sock

    def stop(self) -> None:
        """Stop the process."""
        self._process.terminate()
        self._process.wait(_SECONDS)

    def _find_port(self) -> int:
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            text = self._log.read_text()
            found = re.search(r"tcp listens on 127\.0\.0\.1:([0-9]+)", text)
            is_ready = "Backend accepts publishes" in text or ("edis" not in text and "http listens" in text)
            if found and is_ready:
                return int(found[1])
            time.sleep(0.02)
        raise RuntimeError(f"pushd did not start: {self._log.read_text()}")


class SubscriberThread(threading.Thread):
    """A thread with many subscribers, which count lines."""

    def __init__(self, node: Node, size: int, channel: str) -> None:
        super().__init__(daemon=True)
        self.lines = 0
        self._selector = selectors.DefaultSelector()
        self._is_closed = False
        for _ in range(size):
            sock = node.connect()
            sock.sendall(b"SUB %b\r\n" % channel.encode())
            sock.recv(4096)
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ)
        self.start()

    def run(self) -> None:
        """Read until closed."""
        while not self._is_closed:
            for key, _ in self._selector.select(0.1):
                data = key.fileobj.recv(1 << 16)  # type: ignore[union-attr]
                if not data:
                    raise ConnectionError("pushd closed the connection of a subscriber")
                self.lines += data.count(b"\n")

    def wait_for_lines(self, lines: int) -> None:
        """Wait until this many lines have arrived."""
        deadline = time.monotonic() + _SECONDS
        while self.lines < lines:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.lines} of {lines} lines arrived")
            time.sleep(0.005)

    def close(self) -> None:
        """Close all connections."""
        self._is_closed = True
        self.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Run a temporary Redis server; yield its URL."""
    program = shutil.which("redis-server", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise SystemExit("bench.nodes: redis-server is not installed (Debian: apt-get install redis-server)")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    quiet = ("--save", "", "--logfile", str(folder / "redis.log"))
    process = subprocess.Popen([program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), *quiet])
    try:
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(_SECONDS)


def delivery_cost(folder: Path, options: Sequence[str], subscribers: int, messages: int, rate: float) -> float:
    """Return the CPU time of pushd per delivery in microseconds, publishing included."""
    node = Node(folder, *options)
    thread = SubscriberThread(node, subscribers, "bench")
    publisher = node.connect()
    try:
        _publish(publisher, ["bench"] * 5, rate)
        thread.wait_for_lines(5 * subscribers)
        before = node.cpu
        _publish(publisher, ["bench"] * messages, rate)
        thread.wait_for_lines((5 + messages) * subscribers)
        return (node.cpu - before) * 1e6 / (messages * subscribers)
    finally:
        publisher.close()
        thread.close()
        node.stop()


def publish_rate(folder: Path, options: Sequence[str], nodes: int, messages: int) -> tuple[float, float]:
    """Return the publishes per second of all nodes together, and their CPU time per publish in microseconds."""
    running = [Node(folder, *options) for _ in range(nodes)]
    threads = [SubscriberThread(node, 1, "bench/*") for node in running]
    try:
        share = messages // nodes
        publishers = [
            threading.Thread(target=_pipeline, args=(node.connect(), f"bench/{number}", share))
            for number, node in enumerate(running)
        ]
        before, begin = sum(node.cpu for node in running), time.monotonic()
        for publisher in publishers:
            publisher.start()
        for publisher in publishers:
            publisher.join()
        seconds = time.monotonic() - begin
        for thread in threads:
            thread.wait_for_lines(share * nodes)
        return share * nodes / seconds, (sum(node.cpu for node in running) - before) * 1e6 / (share * nodes)
    finally:
        for thread in threads:
            thread.close()
        for node in running:
            node.stop()


def _publish(sock: socket.socket, channels: Sequence[str], rate: float) -> None:
    """Publish `rate` messages per second, one at a time."""
    due = time.monotonic()
    for channel in channels:
        due += 1 / rate
        time.sleep(max(0.0, due - time.monotonic()))
        sock.sendall(f"PUB {channel} {_DATA}\r\n".encode())
        answer = sock.recv(4096)
        if not answer.startswith(b"+OK"):
            raise RuntimeError(answer.decode())


def _pipeline(sock: socket.socket, channel: str, messages: int) -> None:
    """Publish as fast as possible, with at most `_WINDOW` unacknowledged messages."""
    line = f"PUB {channel} {_DATA}\r\n".encode()
    sent = answered = 0
    while answered < messages:
        batch = min(_WINDOW - (sent - answered), messages - sent)
        if batch > _WINDOW // 4 or (batch and sent + batch == messages):
            sock.sendall(line * batch)
            sent += batch
        answers = sock.recv(1 << 16)
        if not answers or b"-ERR" in answers:
            raise RuntimeError(answers.decode())
        answered += answers.count(b"\n")
    sock.close()


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run all measurements; return their figures."""
    figures: dict[str, Any] = {}
    with ExitStack() as stack:
        redis = ("--redis", stack.enter_context(redis_server(folder)))
        costs: dict[str, list[float]] = {"memory": [], "redis": []}
        for _ in range(args.rounds):
            for name, options in (("memory", ()), ("redis", redis)):
                cost = delivery_cost(folder, options, args.subscribers, args.messages, args.rate)
                costs[name].append(cost)
                _log_progress(f"{name:6}: {cost:6.2f} us of CPU for each delivery")
        medians = {name: statistics.median(values) for name, values in costs.items()}
        figures["delivery"] = {"us": costs, "median_us": medians, "ratio": medians["redis"] / medians["memory"]}
        _log_progress(f"Redis / memory: {figures['delivery']['ratio']:.3f} (goal: at most 1.1)")
        rate, cpu = publish_rate(folder, (), 1, args.publishes)
        figures["memory"] = {"publishes_per_s": rate, "cpu_us": cpu}
        _log_progress(f"memory, 1 node : {rate:7.0f} publishes a second, {cpu:5.0f} us of CPU each")
        figures["nodes"] = {}
        for nodes in args.nodes:
            rate, cpu = publish_rate(folder, redis, nodes, args.publishes)
            figures["nodes"][nodes] = {"publishes_per_s": rate, "cpu_us": cpu}
            name = f"Redis, {nodes} node{'s' if nodes > 1 else ' '}"
            _log_progress(f"{name}: {rate:7.0f} publishes a second, {cpu:5.0f} us of CPU each")
    return figures


def _log_progress(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def main() -> None:
    """Read the command line, measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.nodes", description=__doc__.partition("\n")[0])
    parser.add_argument("--subscribers", type=int, default=1000, help="on one node (default: 1000)")
    parser.add_argument("--messages", type=int, default=200, help="for each round of deliveries (default: 200)")
    parser.add_argument("--rate", type=float, default=40.0, help="messages a second (default: 40)")
    parser.add_argument("--rounds", type=int, default=3, help="of memory and Redis in turns (default: 3)")
    parser.add_argument("--publishes", type=int, default=20_000, help="to measure the rate with (default: 20000)")
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 4], help="on one Redis (default: 1 2 4)")
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(parser.parse_args(), Path(folder)), indent=2))


if __name__ == "__main__":
    main()
