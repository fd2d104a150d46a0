"""Redis pub/sub, without persistence."""

from contextlib import ExitStack
from pathlib import Path

from bench.peers.interface import CHANNEL, Server
from bench.programs import Program, find, free_port, version_of
from bench.scripts import PublishScript, SubscribeScript

_MOST_CLIENTS = 18_000


class Redis:
    """redis-server."""

    name = "Redis"

    def missing_dependency(self) -> str | None:
        """See `Peer`."""
        return None if find("redis-server") else "redis-server is not installed (Debian: redis-server)"

    def version(self) -> str:
        """See `Peer`."""
        output = version_of([find("redis-server") or "redis-server", "--version"])
        return output.partition("v=")[2].partition(" ")[0] or output

    def start(self, stack: ExitStack, directory: Path, cpus: frozenset[int]) -> Server:
        """See `Peer`."""
        port = free_port()
        options = {"port": port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "tcp-backlog": 4096}
        options["maxclients"] = _MOST_CLIENTS
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        program = stack.enter_context(Program([find("redis-server") or "redis-server", *words], directory, cpus))
        program.wait_for(port)
        return Server(program, {"redis": port})

    def subscribe_script(self, server: Server, transport: str, topic: str = CHANNEL) -> SubscribeScript:
        """See `Peer`."""
        return SubscribeScript(server.ports["redis"], f"SUBSCRIBE {topic}\r\n".encode(), b":1\r\n")

    def publish_script(self, server: Server, size: int, channel: str = CHANNEL, variant: str = "") -> PublishScript:
        """See `Peer`. The channel must be a plain name, because its length is sent before it."""
        head = f"*3\r\n$7\r\nPUBLISH\r\n${len(channel)}\r\n{channel}\r\n${size}\r\n"
        return PublishScript(server.ports["redis"], head.encode() + b"%p\r\n", b":")
