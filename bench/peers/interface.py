"""The interface of the peers."""

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
        """Return the ids of the process and its descendants; they do not change later."""
        if not self._processes:
            self._processes = cpu.process_tree(self.program.pid)
        return self._processes

    def cpu_seconds(self) -> float:
        """Return the CPU time used so far."""
        return cpu.seconds(self.processes())

    def memory(self) -> int:
        """Return the resident memory in bytes."""
        return cpu.memory(self.processes())


class Peer(Protocol):
    """A server to compare with."""

    name: str

    def missing_dependency(self) -> str | None:
        """Return what is not installed, or None."""

    def version(self) -> str:
        """Return name and version."""

    def start(self, stack: ExitStack, directory: Path, cpus: frozenset[int]) -> Server:
        """Start the server, with limits high enough for all cases; the stack stops it.

        :raises CannotRun: when it does not start.
        """

    def subscribe_script(self, server: Server, transport: str, topic: str = CHANNEL) -> SubscribeScript:
        """Return how to subscribe to a topic."""

    def publish_script(self, server: Server, size: int, channel: str = CHANNEL, variant: str = "") -> PublishScript:
        """Return how to publish `size` bytes to a channel, by the default or a named variant."""
