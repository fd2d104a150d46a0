"""Child processes of the benchmark: compiled if written in C, pinned to CPUs, and terminated reliably."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from bench.cpu import process_tree

HERE = Path(__file__).parent
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"
_START_SECONDS = 30.0
_STOP_SECONDS = 5.0
_COMPILE_SECONDS = 120.0
_PR_SET_PDEATHSIG = 1


class CannotRun(Exception):
    """The benchmark cannot continue; the text is one sentence."""


def find(name: str) -> str | None:
    """Return the path of a program, searching the sbin directories too; None if it is not installed."""
    return shutil.which(name, path=_PATH)


def compile_c(name: str, directory: Path) -> Path:
    """Compile a program of this package.

    :raises CannotRun: when there is no C compiler, or it fails.
    """
    compiler = find("cc")
    if compiler is None:
        raise CannotRun(
            "no C compiler is installed as cc, which the load and the bare loop need (Debian: gcc libc6-dev)"
        )
    program = directory / name
    command = [compiler, "-std=gnu11", "-O2", "-o", str(program), str(HERE / f"{name}.c")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_SECONDS, check=False)
    if done.returncode:
        raise CannotRun(f"{name}.c does not compile: {done.stderr.strip()}")
    return program


def version_of(command: Sequence[str]) -> str:
    """Return the first line that a version command prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=_START_SECONDS, check=False)
    return ((done.stdout or done.stderr).strip().splitlines() or ["unknown"])[0]


def free_port() -> int:
    """Return a port that is currently free."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port: int = holder.getsockname()[1]
        return port


class Program:
    """A process pinned to CPUs; it is terminated at the end of its ``with`` block and with this process."""

    def __init__(
        self,
        command: Sequence[str],
        directory: Path,
        cpus: Collection[int],
        *,
        has_pipes: bool = False,
    ) -> None:
        """Start the process.

        :param directory: working directory; output goes to the file ``log`` in it.
        :param has_pipes: whether standard input and output are pipes.
        """
        self.name = Path(command[0]).name
        self._log = directory / "log"
        pipe = subprocess.PIPE if has_pipes else None
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=directory,
                stdin=pipe or subprocess.DEVNULL,
                stdout=pipe or log,
                stderr=log,
                preexec_fn=_Prepare(cpus),
                start_new_session=True,  # so that Ctrl-C reaches only this process, which then stops it
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def input(self) -> IO[bytes]:
        """Standard input."""
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def output(self) -> IO[bytes]:
        """Standard output."""
        assert self._process.stdout is not None
        return self._process.stdout

    @property
    def last_log_line(self) -> str:
        """Last line of its log."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "it logged nothing"

    def wait_for(self, *ports: int) -> None:
        """Wait until it listens on these ports.

        :raises CannotRun: when it exits first or takes too long.
        """
        deadline = time.monotonic() + _START_SECONDS
        for port in ports:
            while not _is_listening(port):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise CannotRun(f"{self.name} did not start: {self.last_log_line}")
                time.sleep(0.02)

    def stop(self) -> None:
        """Terminate the process and wait for its exit."""
        members = process_tree(self.pid)
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            for pid in members:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait(_STOP_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class _Prepare:
    """Preparation of a child process before exec."""

    def __init__(self, cpus: Collection[int]) -> None:
        self._cpus = cpus
        self._prctl = ctypes.CDLL(None).prctl

    def __call__(self) -> None:
        """Set the CPU affinity, and request a signal when the parent dies."""
        os.sched_setaffinity(0, self._cpus)
        self._prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
