"""A daemon with durable history as a process, and history files written without a daemon."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pushd.backends.sqlite.channel_record import ChannelRecord, cost_of
from pushd.backends.sqlite.directory import Directory
from pushd.backends.sqlite.rows import MESSAGE_COLUMNS, RECORD_COLUMNS, MessageRow, row_of_message, row_of_record
from pushd.backends.sqlite.schema import migrate
from pushd.core.message import TEXT, Message
from tests.daemon.real import TWISTD, Daemon, eventually
from tests.system.fork_server import ForkServer

NO_EVICTION = ("--history-messages", "10000000", "--history-bytes", "8GiB", "--history-total-bytes", "8GiB")
"""Options with which nothing is evicted."""


class _Forked:
    """A process started by the fork server, with the methods of `subprocess.Popen` that are needed."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        """Return 0 if it has exited, else None."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return 0
        return None

    def kill(self) -> None:
        """Kill the process (SIGKILL)."""
        self._send(signal.SIGKILL)

    def terminate(self) -> None:
        """Terminate the process (SIGTERM)."""
        self._send(signal.SIGTERM)

    def wait(self, seconds: float = 10.0) -> None:
        """Wait for its exit."""
        assert eventually(lambda: self.poll() is not None, seconds)

    def _send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


class DurableDaemon(Daemon):
    """`twistd -n pushd --data-dir`."""

    def __init__(
        self, home: Path, *options: str, data: Path | None = None, fork_server: ForkServer | None = None
    ) -> None:
        """
        :param home: directory of the log, and of the history unless `data` is given.
        :param fork_server: starts the daemon without the time for imports.
        """
        home.mkdir(exist_ok=True)
        options = ("--data-dir", str(data or home / "data"), *options)
        if fork_server is None:
            super().__init__(home, *options)
            return
        listen = "tcp:0:interface=127.0.0.1"
        self._log = home / "pushd.log"
        self._log.write_bytes(b"")
        words = ["-n", "--pidfile=", "pushd", "--http", listen, "--tcp", listen, "--log-format", "text", *options]
        self._process: Any = _Forked(fork_server.start(self._log, words))
        self.http_port, self.tcp_port = self._port("http"), self._port("tcp")

    def kill(self) -> None:
        """Kill the process (SIGKILL)."""
        self._process.kill()
        self._process.wait()

    def cpu_seconds(self) -> float:
        """Return the CPU time of the process in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Return its anonymous resident memory in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(re.findall(r"RssAnon:\s+(\d+) kB", status)[0]) << 10


def twistd(home: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run a daemon until it exits by itself."""
    home.mkdir(exist_ok=True)
    listen = ["--http", "tcp:0:interface=127.0.0.1", "--tcp", "none"]
    return subprocess.run(
        [*TWISTD, *listen, *options],
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def fill(directory: Path, messages: int, channels: int, data: bytes = b"x" * 100) -> str:
    """Write a history of messages in turn to `c/0`, `c/1`, ..., the oldest a minute old; return its epoch.

    The rows are those that a daemon would have written, but all of them in one transaction.
    """
    place = Directory(str(directory))
    place.acquire()
    db = place.open_writer("normal")
    began = time.time() - 60
    migrate(db, "Filled", began)
    db.execute("PRAGMA journal_mode = OFF")
    db.execute("PRAGMA synchronous = OFF")
    records = [ChannelRecord(number + 1, f"c/{number}") for number in range(channels)]
    rate = messages / 50

    def rows() -> Iterator[MessageRow]:
        for seq in range(1, messages + 1):
            record = records[(seq - 1) % channels]
            at = round(began + seq / rate, 3)
            message = Message("Filled", seq, None, record.name, at, data, TEXT, "text")
            yield row_of_message(message, record.id, record.last, seq / rate, None)
            record.messages += 1
            record.last, record.last_time, record.used, record.place = seq, at, seq, seq

    db.execute("BEGIN")
    db.execute("DROP INDEX message_of_channel")
    db.executemany(f"INSERT INTO message ({MESSAGE_COLUMNS}) VALUES ({', '.join('?' * 12)})", rows())
    db.execute("CREATE UNIQUE INDEX message_of_channel ON message (channel, seq)")
    for record in records:
        record.bytes = record.messages * len(data)
        record.cost = record.messages * cost_of(len(data) + len(record.name) + len(TEXT))
    places = ", ".join("?" * 17)
    db.executemany(f"INSERT INTO channel ({RECORD_COLUMNS}) VALUES ({places})", map(row_of_record, records))
    db.execute("UPDATE log SET seq = ?, now = 50, wall = ?", (messages, began + 50))
    db.execute("COMMIT")
    db.execute("PRAGMA journal_mode = WAL")
    db.close()
    place.release()
    return "Filled"


def texts(messages: list[Any]) -> list[str]:
    """Return the data of JSON messages."""
    return [message["data"] for message in messages]
