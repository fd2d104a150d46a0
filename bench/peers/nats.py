"""NATS, the server in Go, on one CPU."""

from contextlib import ExitStack
from pathlib import Path

from bench.peers.interface import CHANNEL, Server
from bench.programs import Program, find, free_port, version_of
from bench.scripts import PublishScript, SubscribeScript

_BATCH = 1000
_CONNECT = b'CONNECT {"verbose":false,"pedantic":false}\r\n'
# By default it pings a moment after a client has connected, and then every two minutes.
_CONFIG = 'listen: "127.0.0.1:{port}"\nmax_connections: 100000\nping_interval: "1h"\nping_max: 100\n'


class Nats:
    """nats-server."""

    name = "NATS"

    def missing_dependency(self) -> str | None:
        """See `Peer`."""
        return None if find("nats-server") else "nats-server is not installed (Debian: nats-server)"

    def version(self) -> str:
        """See `Peer`."""
        return version_of([find("nats-server") or "nats-server", "--version"]).rpartition("v")[2]

    def start(self, stack: ExitStack, directory: Path, cpus: frozenset[int]) -> Server:
        """See `Peer`."""
        port = free_port()
        config = directory / "nats.conf"
        config.write_text(_CONFIG.format(port=port))
        program = stack.enter_context(
            Program([find("nats-server") or "nats-server", "-c", str(config)], directory, cpus)
        )
        program.wait_for(port)
        return Server(program, {"nats": port})

    def subscribe_script(self, server: Server, transport: str, topic: str = CHANNEL) -> SubscribeScript:
        """See `Peer`."""
        hello = _CONNECT + f"SUB {topic} 1\r\nPING\r\n".encode()
        return SubscribeScript(server.ports["nats"], hello, b"PONG\r\n", b"PING\r\n", b"PONG\r\n")

    def publish_script(self, server: Server, size: int, channel: str = CHANNEL, variant: str = "") -> PublishScript:
        """See `Peer`. Messages are not acknowledged; the variant `many` ends with a ping, which is."""
        line = f"PUB {channel} {size}\r\n%p\r\n".encode()
        hello, port = _CONNECT + b"PING\r\n", server.ports["nats"]
        if variant == "many":
            return PublishScript(port, line * _BATCH + b"PING\r\n", b"PONG\r\n", hello, b"PONG\r\n", messages=_BATCH)
        return PublishScript(port, line, b"", hello, b"PONG\r\n")
