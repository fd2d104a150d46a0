"""pushd, as `twistd pushd` starts it, with its defaults."""

import importlib.util
import sys
import urllib.request
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

from bench.peers.interface import CHANNEL, Server
from bench.programs import CannotRun, Program, free_port
from bench.scripts import PING_BYTE, PONG, ProbeScript, PublishScript, SubscribeScript, get, post, upgrade

_BATCH = 1000
_METRICS_SECONDS = 20
_PATHS = {"SSE": "/sse/{}", "NDJSON": "/stream/{}", "long-poll": "/longpoll/{}?timeout=300"}
_READY = {"SSE": b"retry:", "NDJSON": b"\r\n\r\n", "long-poll": b""}


class Pushd:
    """The daemon of this repository.

    :param checkout: another checkout of it whose daemon is started instead, with the same Python and dependencies.
    :param config: its configuration file; None for the defaults.
    """

    def __init__(self, name: str = "pushd", checkout: Path | None = None, config: Path | None = None) -> None:
        self.name = name
        self._options = [] if config is None else [f"--config={config}"]
        self._start = "from twisted.scripts.twistd import run; run()"
        if checkout is not None:
            self._start = f"import sys; sys.path.insert(0, {str(checkout)!r}); {self._start}"

    def missing_dependency(self) -> str | None:
        """See `Peer`."""
        if importlib.util.find_spec("pushd") is None or importlib.util.find_spec("twisted") is None:
            return "pushd is not installed for this Python"
        return None

    def version(self) -> str:
        """See `Peer`."""
        python = ".".join(map(str, sys.version_info[:3]))
        return f"{version('pushd')} (Twisted {version('twisted')}, Autobahn {version('autobahn')}, Python {python})"

    def start(self, stack: ExitStack, directory: Path, cpus: frozenset[int]) -> Server:
        """See `Peer`."""
        ports = {"http": free_port(), "tcp": free_port()}
        listen = [f"--{kind}=tcp:{port}:interface=127.0.0.1" for kind, port in ports.items()]
        twistd = [sys.executable, "-c", self._start]
        program = stack.enter_context(
            Program([*twistd, "-n", "--pidfile=", "pushd", *self._options, *listen], directory, cpus)
        )
        program.wait_for(*ports.values())
        return Server(program, ports)

    def subscribe_script(self, server: Server, transport: str, topic: str = CHANNEL) -> SubscribeScript:
        """See `Peer`."""
        if transport == "TCP":
            return SubscribeScript(server.ports["tcp"], f"SUB {topic}\r\n".encode(), b"+OK SUB")
        if transport == "WebSocket":
            return SubscribeScript(server.ports["http"], upgrade(f"/ws/{topic}"), b"\r\n\r\n", PING_BYTE, PONG)
        return SubscribeScript(server.ports["http"], get(_PATHS[transport].format(topic)), _READY[transport])

    def publish_script(self, server: Server, size: int, channel: str = CHANNEL, variant: str = "") -> PublishScript:
        """See `Peer`. The variants are TCP lines (default), `POST`, and `batch`: many messages in one POST."""
        if not variant:
            return PublishScript(server.ports["tcp"], f"PUB {channel} %p\r\n".encode(), b"+OK", ready=b"INFO")
        if variant == "POST":
            return PublishScript(server.ports["http"], post(f"/pub/{channel}", b"%p", size), b"HTTP/1.1 20")
        line = f'{{"channel":"{channel}","data":"%p"}}\n'.encode()
        batch = post("/pub", line * _BATCH, (len(line) - 2 + size) * _BATCH, "application/x-ndjson")
        return PublishScript(server.ports["http"], batch, b'{"id":', messages=_BATCH, answers=_BATCH)

    def metric(self, server: Server, name: str) -> float:
        """Return the value of one of the daemon's metrics.

        :raises CannotRun: when there is no such metric.
        """
        address = f"http://127.0.0.1:{server.ports['http']}/metrics"
        with urllib.request.urlopen(address, timeout=_METRICS_SECONDS) as answer:
            text = answer.read().decode()
        for line in text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        raise CannotRun(f"pushd has no metric {name}")

    def probe_script(self, server: Server, variant: str) -> ProbeScript:
        """Return how another client probes the daemon: by a ping, or by a publish to another channel."""
        if variant == "TCP PING":
            return ProbeScript(server.ports["tcp"], b"PING x\r\n", b"PONG x", ready=b"INFO")
        if variant == "WebSocket ping":
            # A masked ping without a payload; the reply is a pong without one.
            hello = upgrade("/ws/elsewhere")
            return ProbeScript(server.ports["http"], b"\x89\x80\0\0\0\0", b"\x8a\x00", hello, b"\r\n\r\n")
        return ProbeScript(server.ports["http"], post("/pub/elsewhere", b"x", 1), b"HTTP/1.1 20")
