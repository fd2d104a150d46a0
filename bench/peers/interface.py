"""What every peer of the benchmark can be asked."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench import cpu
from bench.programs import Program
from bench.scripts import PublishScript, SubscribeScript

CHANNEL = "bench"


@dataclass
class Server:
    """A running server."""

    program: Program
    ports: Mapping[str, int]
    _processes: list[int] = field(default_factory=list)

    def processes(self) -> Sequence[int]:
        """Give the process and all that it has started; none of the peers starts one later."""
        if not self._processes:
            self._processes = cpu.process_tree(self.program.pid)
        return self._processes

    def cpu_seconds(self) -> float:
        """Give the CPU time it has taken so far."""
        return cpu.seconds(self.processes())

    def memory(self) -> int:
        """Give the memory that it holds, in bytes."""
        return cpu.memory(self.processes())


class Peer(Protocol):
    """A server that can be compared."""

    name: str

    def missing_dependency(self) -> str | None:
        """Say what is not installed, or None."""

    def version(self) -> str:
        """Say which one it is."""

    def start(self, stack: ExitStack, directory: Path, cpus: frozenset[int]) -> Server:
        """Start it, with as few limits as the cases allow; the stack ends it.

        :raises CannotRun: it does not start.
        """

    def subscribe_script(self, server: Server, transport: str, topic: str = CHANNEL) -> SubscribeScript:
        """Say how to subscribe to a topic."""

    def publish_script(self, server: Server, size: int, channel: str = CHANNEL, variant: str = "") -> PublishScript:
        """Say how to publish so many bytes to a channel, by the usual way or another one that the peer names."""
