"""Histories at the limits, written directly to the backends, and patterns that are expensive to match."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from pushd.backends.sqlite.channel_record import ChannelRecord, cost_of
from pushd.backends.sqlite.directory import Directory
from pushd.backends.sqlite.rows import MESSAGE_COLUMNS, RECORD_COLUMNS, MessageRow, row_of_message, row_of_record
from pushd.backends.sqlite.schema import migrate
from pushd.core.message import TEXT, Message
from tests.backends.redis_server import RedisServer

EPOCH = "Filled"
CHANNELS = 100_000
"""The default of `limits.channels`."""
TOPICS = 1000
"""The default of `limits.topics`."""
DATA = b"x"


def channel(number: int) -> str:
    """Return the name of a channel."""
    return f"w/{number % 10}/a/a/a/a/{number}"


def costly_patterns() -> list[str]:
    """Return patterns that match no channel, although half of them agree with the first segments of all."""
    overlapping = ["/".join((*segments, "*", "none")) for segments in itertools.product("*a", repeat=9)]
    literal = [f"*/*/x{number}/*" for number in range(TOPICS)]
    return [*overlapping[: TOPICS // 2], *literal[: TOPICS // 2]]


def fill_file(directory: Path) -> None:
    """Write a file in which each channel has published two messages, has lost the first and keeps the second."""
    place = Directory(str(directory))
    place.acquire()
    db = place.open_writer("normal")
    began = round(time.time() - 60, 3)
    migrate(db, EPOCH, began)
    db.execute("PRAGMA journal_mode = OFF")
    db.execute("PRAGMA synchronous = OFF")

    def messages() -> Iterator[MessageRow]:
        for number in range(CHANNELS):
            seq = CHANNELS + number + 1
            message = Message(EPOCH, seq, None, channel(number), began, DATA, TEXT, "text")
            yield row_of_message(message, number + 1, number + 1, 1.0, None)

    def records() -> Iterator[ChannelRecord]:
        for number in range(CHANNELS):
            lost, seq, name = number + 1, CHANNELS + number + 1, channel(number)
            cost = cost_of(len(DATA) + len(name) + len(TEXT))
            yield ChannelRecord(
                number + 1,
                name,
                messages=1,
                bytes=len(DATA),
                cost=cost,
                last=seq,
                last_time=began,
                used=seq,
                floor=lost,
                lost=lost,
                lost_time=began,
                lost_reason="evicted",
                place=seq,
            )

    db.execute("BEGIN")
    db.executemany(f"INSERT INTO message ({MESSAGE_COLUMNS}) VALUES ({', '.join('?' * 13)})", messages())
    places = ", ".join("?" * 17)
    db.executemany(f"INSERT INTO channel ({RECORD_COLUMNS}) VALUES ({places})", map(row_of_record, records()))
    db.execute("UPDATE log SET seq = ?, now = 50, wall = ?, peak = 0", (2 * CHANNELS, began + 50))
    db.execute("COMMIT")
    db.execute("PRAGMA journal_mode = WAL")
    db.close()
    place.release()


def fill_redis(server: RedisServer, prefix: str, channels: int = CHANNELS) -> None:
    """Write the same history to Redis."""
    began = round(time.time() * 1000)
    keys = f"{prefix}{EPOCH}:"
    encode = msgspec.msgpack.encode

    def commands() -> Iterator[tuple[str | bytes, ...]]:
        for number in range(channels):
            name, lost, seq = channel(number), str(number + 1), channels + number + 1
            size = f"{len(DATA)} {len(DATA) + len(name)}"
            yield (
                *("HSET", f"{keys}c:{name}", "last", str(seq), "at", str(began), "ended", "0", "lost", lost),
                *("lat", str(began), "why", "evicted", "n", "1", "b", str(len(DATA)), "gone", "0"),
            )
            yield "ZADD", f"{keys}lost", lost, name
            yield "ZADD", f"{keys}names", "0", name
            yield "ZADD", f"{keys}live", str(seq), name
            body = f"m {EPOCH} {seq} {lost} {began}\n".encode() + encode((name, DATA, TEXT, "text", None, False))
            yield "XADD", f"{keys}s:{name}", f"{seq}-0", "t", str(began), "z", size, "m", body
            yield "XADD", f"{keys}t", f"{seq}-0", "c", name, "t", str(began), "z", size
        cost, run = str(channels * 450), server.ask("INFO", "server").partition(b"run_id:")[2][:40]
        values = ("epoch", EPOCH, "seq", str(2 * channels), "n", str(channels), "b", cost, "run", run)
        yield "HSET", f"{prefix}log", *values

    server.pipe(commands())
