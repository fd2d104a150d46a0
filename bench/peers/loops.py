"""The bare loops: one send per subscriber and nothing else, in C (limit.c) and in Python (limit.py)."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.peers.interface import CHANNEL, Server
from bench.programs import HERE, Program, compile_c, find, free_port, version_of
from bench.scripts import PublishScript, SubscribeScript


class _Loop:
    def missing_dependency(self) -> str | None:
        """See `Peer`."""
        return None

    def start(self, stack: ExitStack, directory: Path, cpus: frozenset[int]) -> Server:
        """See `Peer`."""
        port = free_port()
        program = stack.enter_context(Program([*self.command(directory), str(port)], directory, cpus))
        program.wait_for(port)
        return Server(program, {"lines": port})

    def command(self, directory: Path) -> Sequence[str]:
        """Return the program and its arguments."""
        raise NotImplementedError

    def subscribe_script(self, server: Server, transport: str, topic: str = CHANNEL) -> SubscribeScript:
        """See `Peer`."""
        return SubscribeScript(server.ports["lines"], b"SUB\n", b"+OK\n")

    def publish_script(self, server: Server, size: int, channel: str = CHANNEL, variant: str = "") -> PublishScript:
        """See `Peer`."""
        return PublishScript(server.ports["lines"], b"PUB %p\n", b"+OK\n")


class LoopInC(_Loop):
    """The cost of the system calls, and almost nothing else."""

    name = "C"

    def version(self) -> str:
        """See `Peer`."""
        return version_of([find("cc") or "cc", "--version"])

    def command(self, directory: Path) -> Sequence[str]:
        """See `_Loop`."""
        return [str(compile_c("limit", directory))]


class LoopInPython(_Loop):
    """The same loop in Python."""

    name = "Python"

    def version(self) -> str:
        """See `Peer`."""
        return ".".join(map(str, sys.version_info[:3]))

    def command(self, directory: Path) -> Sequence[str]:
        """See `_Loop`."""
        return [sys.executable, str(HERE / "limit.py")]
