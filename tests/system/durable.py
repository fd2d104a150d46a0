"""A daemon with durable history as a process, and history files written without a daemon."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pushd.backends.sqlite.channel_record import ChannelRecord, cost_of
from pushd.backends.sqlite.directory import Directory
from pushd.backends.sqlite.rows import MESSAGE_COLUMNS, RECORD_COLUMNS, MessageRow, row_of_message, row_of_record
from pushd.backends.sqlite.schema import migrate
from pushd.core.message import TEXT, Message
from tests.daemon.real import TWISTD, Daemon

NO_EVICTION = ("--history-messages", "10000000", "--history-bytes", "8GiB", "--history-total-bytes", "8GiB")
"""Options with which nothing is evicted."""


class DurableDaemon(Daemon):
    """`twistd -n pushd --data-dir`."""

    def __init__(self, home: Path, *options: str, data: Path | None = None, is_forked: bool = True) -> None:
        """:param home: directory of the log, and of the history unless `data` is given."""
        home.mkdir(exist_ok=True)
        super().__init__(home, "--data-dir", str(data or home / "data"), *options, is_forked=is_forked)

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
    db.executemany(f"INSERT INTO message ({MESSAGE_COLUMNS}) VALUES ({', '.join('?' * 13)})", rows())
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
