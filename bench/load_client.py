"""The driver of the load client (load.c), which opens subscribers, publishes, and checks and times each delivery."""

import json
import selectors
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from bench.programs import CannotRun, Program
from bench.scripts import ProbeScript, PublishScript, SubscribeScript

_GRACE_SECONDS = 30.0
"""Time allowed beyond the deadline of a command, for sorting the latencies."""
_OPEN_SECONDS = 120


class LoadClient:
    """A running load client."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._selector = selectors.DefaultSelector()
        self._selector.register(program.output, selectors.EVENT_READ)
        self._answer_so_far = b""
        self._set("patience", _OPEN_SECONDS)

    def set_subscribe_script(
        self, subscribe_script: SubscribeScript, *, channels: int = 1, stalled: bool = False
    ) -> None:
        """Set how the next subscribers subscribe."""
        self._set("port", subscribe_script.port)
        self._set("channels", channels)
        self._set("stalled", int(stalled))
        for name in ("hello", "ready", "ping", "pong"):
            self._set(name, getattr(subscribe_script, name))

    def set_publish_script(self, publish_script: PublishScript, *, size: int, connections: int = 1) -> None:
        """Set how to publish payloads of `size` bytes, and connect the publishers."""
        self._set("size", size)
        self._set("publish_port", publish_script.port)
        self._set("publish", publish_script.text)
        self._set("answer", publish_script.answer)
        self._set("publish_hello", publish_script.hello)
        self._set("publish_ready", publish_script.ready)
        self._expect_ready(self._ask(f"publishers {connections}", _OPEN_SECONDS), connections, "publishers")

    def start_probe(self, probe_script: ProbeScript) -> None:
        """Connect a probe, which sends its request repeatedly during each run."""
        self._set("probe_port", probe_script.port)
        self._set("probe_hello", probe_script.hello)
        self._set("probe_ready", probe_script.ready)
        self._set("probe_ask", probe_script.text)
        self._set("probe_answer", probe_script.answer)
        self._expect_ready(self._ask("probe", _OPEN_SECONDS), 1, "probes")

    def stop_probe(self) -> None:
        """Disconnect the probe."""
        self._ask("no probe", _OPEN_SECONDS)

    def open(self, subscribers: int) -> None:
        """Open this many more subscribers."""
        self._expect_ready(self._ask(f"open {subscribers}", _OPEN_SECONDS), subscribers, "subscribers")

    def close(self) -> None:
        """Close all subscribers."""
        self._ask("close", _OPEN_SECONDS)

    def run(self, times: int, burst: int = 1, rate: float = 0.0, deadline: float = 20.0) -> dict[str, Any]:
        """Publish bursts on each channel, `rate` per second or (0) each after the last one has arrived everywhere."""
        return self._ask(f"run {times} {burst} {rate} {deadline}", deadline)

    def pump(self, times: int, window: int, answers: int = 1, deadline: float = 20.0) -> dict[str, Any]:
        """Publish regardless of subscribers, with at most `window` unacknowledged requests per connection."""
        return self._ask(f"pump {times} {window} {answers} {deadline}", deadline)

    def _expect_ready(self, answer: dict[str, Any], expected: int, what: str) -> None:
        if answer["ready"] != expected:
            raise CannotRun(f"only {answer['ready']} of {expected} {what} could connect")

    def _set(self, name: str, value: bytes | int) -> None:
        text = str(value).encode() if isinstance(value, int) else escape(value)
        self._send(b"set %b %b\n" % (name.encode(), text))

    def _ask(self, command: str, seconds: float) -> dict[str, Any]:
        self._send(command.encode() + b"\n")
        deadline = time.monotonic() + seconds + _GRACE_SECONDS
        while b"\n" not in self._answer_so_far:
            if not self._selector.select(deadline - time.monotonic()):
                raise CannotRun(f"the load client did not respond to: {command}")
            block = self._program.output.read1(1 << 16)  # type: ignore[attr-defined]
            if not block:
                raise CannotRun(f"the load client ended: {self._program.last_log_line}")
            self._answer_so_far += block
        line, _, self._answer_so_far = self._answer_so_far.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _send(self, line: bytes) -> None:
        try:
            self._program.input.write(line)
            self._program.input.flush()
        except BrokenPipeError as error:
            raise CannotRun(f"the load client ended: {self._program.last_log_line}") from error


def start(program: Path, directory: Path, cpus: Collection[int]) -> Program:
    """Start the process that a `LoadClient` drives."""
    directory.mkdir(parents=True, exist_ok=True)
    return Program([str(program)], directory, cpus, has_pipes=True)


def escape(text: bytes) -> bytes:
    """Return bytes escaped to one line, as load.c reads them."""
    return b"".join(bytes((c,)) if 32 <= c < 127 and c != 92 else b"\\x%02x" % c for c in text)
