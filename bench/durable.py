"""The cost of durable history: acknowledged publishes with backends in memory and on disk, compared with other servers.

    python -m bench.durable [--seconds 3] [--publishers 1,10,100] [--window 1] [--peers memory,full,...] [--rate 2000]

Each publisher has its own connection and sends messages of 100 bytes, with at most `--window` unacknowledged ones; one
subscriber receives all of them. With `--rate`, the publishers share that rate, so that deliveries are compared under
the same load. Everything runs on this machine, one server at a time, with its files in a temporary directory.
"""

import argparse
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_SIZE = 100
_START_SECONDS = 15.0
_WARM_SECONDS = 0.5
_ROOT = Path(__file__).parent.parent
_SENT = re.compile(rb"@([0-9]{18}\.[0-9]{6})")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class DurableServer:
    """A server and its protocol."""

    name: str
    command: Callable[[str, int], Sequence[str]]
    """Returns the command line for a data directory and a port."""
    greeting: Callable[[int], bytes]
    """Returns the first bytes that the publisher of this number sends; no response is awaited."""
    publish: Callable[[int, bytes], bytes]
    answer: bytes
    """Bytes that occur exactly once in each acknowledgement."""
    subscribe: Callable[[], bytes]
    needs: str = "python"
    config: Callable[[str, int], str | None] = field(default=lambda directory, port: None)
    ready: bytes = b""
    """Bytes that acknowledge a subscription."""


def _pushd(name: str, *options: str) -> DurableServer:
    def command(directory: str, port: int) -> Sequence[str]:
        words = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=", "pushd"]
        words += ["--http", "none", "--tcp", f"tcp:{port}:interface=127.0.0.1", "--log-level", "error"]
        return [*words, *(option.replace("DIR", f"{directory}/data") for option in options)]

    return DurableServer(
        f"pushd {name}",
        command,
        lambda number: b"",
        lambda number, data: b"PUB bench/%d %b\r\n" % (number, data),
        b"+OK ",
        lambda: b"SUB bench/*\r\n",
        ready=b"+OK SUB",
    )


def _resp(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def _redis(fsync: str) -> DurableServer:
    def command(directory: str, port: int) -> Sequence[str]:
        words = ["redis-server", "--port", str(port), "--dir", directory, "--save", "", "--appendonly", "yes"]
        return [*words, "--appendfsync", fsync, "--bind", "127.0.0.1", "--logfile", f"{directory}/log"]

    def publish(number: int, data: bytes) -> bytes:
        # Add to a stream and publish, which gives the same guarantee as pushd.
        script = b"redis.call('XADD',KEYS[1],'MAXLEN','~','1000','*','d',ARGV[1]) redis.call('PUBLISH',KEYS[1],ARGV[1])"
        return _resp(b"EVAL", script, b"1", b"bench/%d" % number, data)

    return DurableServer(
        f"Redis {fsync}",
        command,
        lambda number: b"",
        publish,
        b"$-1\r\n",
        lambda: _resp(b"PSUBSCRIBE", b"bench/*"),
        needs="redis-server",
        ready=b"psubscribe",
    )


def _nats() -> DurableServer:
    def config(directory: str, port: int) -> str:
        return f'port: {port}\nhost: 127.0.0.1\njetstream {{ store_dir: "{directory}" }}\nlog_file: "{directory}/log"\n'

    stream = (
        b'{"name":"bench","subjects":["bench.*"],"retention":"limits","storage":"file","max_msgs_per_subject":1000,'
    )
    stream += b'"max_msgs":-1,"max_bytes":-1,"max_age":0,"discard":"old","num_replicas":1}'
    create = b"PUB $JS.API.STREAM.CREATE.bench %d\r\n%b\r\n" % (len(stream), stream)
    greeting = b'CONNECT {"verbose":false,"pedantic":false}\r\n'
    return DurableServer(
        "NATS JetStream",
        lambda directory, port: ["nats-server", "-c", f"{directory}/config"],
        lambda number: greeting + b"SUB _INBOX.%d 1\r\n" % number,
        lambda number, data: b"PUB bench.%d _INBOX.%d %d\r\n%b\r\n" % (number, number, len(data), data),
        b"MSG _INBOX",
        lambda: greeting + create + b"SUB bench.* 1\r\nPING\r\n",
        needs="nats-server",
        config=config,
        ready=b"PONG",
    )


SERVERS = {
    "memory": _pushd("memory"),
    "normal": _pushd("sqlite normal", "--data-dir", "DIR", "--backend-sync", "normal"),
    "full": _pushd("sqlite full", "--data-dir", "DIR"),
    "redis-everysec": _redis("everysec"),
    "redis-always": _redis("always"),
    "nats": _nats(),
}


@dataclass
class RunFigures:
    """The figures of one run."""

    rate: float
    cpu: float
    """CPU time of the server per publish in microseconds."""
    answers: list[float]
    deliveries: list[float]


class Connection:
    """A connection to the server."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_START_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.descriptor = self.socket.fileno()
        self.unparsed = b""
        self.sent: deque[float] = deque()
        """Send times of the unacknowledged messages."""

    def wait_for(self, word: bytes) -> None:
        """Read until these bytes have arrived."""
        while word not in self.unparsed:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("the server closed the connection")
            self.unparsed += data
        self.unparsed = b""


def measure(
    peer: DurableServer, port: int, pid: int, publishers: int, seconds: float, rate: float, window: int
) -> RunFigures:
    """Publish for some seconds.

    :param publishers: number of publishers.
    :param rate: publishes per second in total; 0 for as many as possible.
    :param window: maximum number of unacknowledged messages per publisher.
    """
    subscriber = Connection(port)
    subscriber.socket.sendall(peer.subscribe())
    subscriber.wait_for(peer.ready)
    lines = [Connection(port) for _ in range(publishers)]
    for number, line in enumerate(lines):
        line.socket.sendall(peer.greeting(number))
    poll = select.epoll()
    by_number = {line.descriptor: (number, line) for number, line in enumerate(lines)}
    time.sleep(0.2)
    for line in [subscriber, *lines]:
        line.socket.setblocking(False)
        try:
            while line.socket.recv(1 << 20):  # greetings
                pass
        except BlockingIOError:
            pass
        poll.register(line.descriptor, select.EPOLLIN)
    begin = time.perf_counter() + _WARM_SECONDS
    end = begin + seconds
    answers: list[float] = []
    deliveries: list[float] = []
    cpu = 0.0
    free = deque(list(range(publishers)) * window)
    due = time.perf_counter()
    now = due
    is_warm = False
    count = 0
    filler = b"x" * (_SIZE - 26)
    while now < end:
        while free and (not rate or due <= now):
            number = free.popleft()
            line = lines[number]
            sent = due if rate else now
            line.sent.append(sent)
            line.socket.send(peer.publish(number, b"@%025.6f" % sent + filler))
            due += 1 / rate if rate else 0
        timeout = max(0.0, min(0.05, due - now)) if rate and free else 0.05
        events = poll.poll(timeout)
        now = time.perf_counter()
        if not is_warm and now >= begin:
            is_warm, cpu, count = True, _cpu_of(pid), 0
            answers.clear()
            deliveries.clear()
            begin = now
        for descriptor, _ in events:
            if descriptor == subscriber.descriptor:
                data = subscriber.unparsed + subscriber.socket.recv(1 << 20)
                now = time.perf_counter()
                found = list(_SENT.finditer(data))
                deliveries += [now - float(each[1]) for each in found]
                subscriber.unparsed = data[found[-1].end() if found else 0 :][-_SIZE:]
                continue
            number, line = by_number[descriptor]
            data = line.unparsed + line.socket.recv(65536)
            if not data:
                raise ConnectionError("the server closed the connection")
            if b"-ERR" in data:
                raise ConnectionError(data.decode(errors="replace"))
            *answered, line.unparsed = data.split(peer.answer)
            for _ in answered:
                answers.append(now - line.sent.popleft())
                count += 1
                free.append(number)
    cpu_spent = _cpu_of(pid) - cpu
    for line in [subscriber, *lines]:
        line.socket.close()
    return RunFigures(count / (now - begin), cpu_spent / max(1, count) * 1e6, answers, deliveries)


@contextmanager
def running(peer: DurableServer) -> Iterator[tuple[int, int]]:
    """Run a server; yield its port and process id."""
    with tempfile.TemporaryDirectory(prefix="pushd-durable-") as directory:
        with socket.create_server(("127.0.0.1", 0)) as holder:
            port = holder.getsockname()[1]
        config = peer.config(directory, port)
        if config:
            (Path(directory) / "config").write_text(config)
        environ = {**os.environ, "PYTHONPATH": str(_ROOT)}
        process = subprocess.Popen(
            peer.command(directory, port),
            env=environ,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        try:
            _wait_for(port, process)
            yield port, process.pid
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _at(values: list[float], share: float) -> str:
    return f"{sorted(values)[int(share * (len(values) - 1))] * 1000:.2f}" if values else "-"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.durable", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="duration of each run")
    parser.add_argument("--publishers", default="1,10,100")
    parser.add_argument("--peers", default=",".join(SERVERS), help=", ".join(SERVERS))
    parser.add_argument("--window", type=int, default=1, help="unacknowledged messages per publisher")
    parser.add_argument("--rate", type=float, default=0.0, help="publishes per second in total; 0: as many as possible")
    args = parser.parse_args(argv)
    load = f"{args.rate:.0f} a second" if args.rate else "as fast as the answers come"
    print(f"{_SIZE} bytes, {args.seconds:g} s a run, {load}, {args.window} on the way, {os.cpu_count()} CPUs\n")
    print("| server | publishers | publishes/s | CPU µs each | answer p50 ms | p99 ms | delivery p50 ms | p99 ms |")
    print("|---|---|---|---|---|---|---|---|")
    for name in args.peers.split(","):
        peer = SERVERS[name]
        if peer.needs != "python" and not shutil.which(peer.needs):
            print(f"| {peer.name} | {peer.needs} is not installed | | | | | | |")
            continue
        for publishers in map(int, args.publishers.split(",")):
            with running(peer) as (port, pid):
                figures = measure(peer, port, pid, publishers, args.seconds, args.rate, args.window)
            answers, deliveries = figures.answers, figures.deliveries
            print(
                f"| {peer.name} | {publishers} | {figures.rate:,.0f} | {figures.cpu:.0f} | {_at(answers, 0.5)} | "
                f"{_at(answers, 0.99)} | {_at(deliveries, 0.5)} | {_at(deliveries, 0.99)} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
