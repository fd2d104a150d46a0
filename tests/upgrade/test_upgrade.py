"""Histories written by version 0.1 are read, and go on: on disk and in Redis.

The files in data/ were written by pushd 0.1 itself: `0.1-first` by the first version with durable history (commit
4167aff), `0.1-last` by the last one before credentials (commit 636e8f1). A script published to a daemon, deleted the
channel `gone`, deleted and published to `again`, and saved the answer of ``/history/**`` and the id of the second
message. Then it copied the file (`.sqlite.gz`), or the commands that fill Redis again (`.redis.gz`, its append-only
file after BGREWRITEAOF).
"""

import gzip
import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pushd.backends.sqlite.schema import VERSION
from tests.backends.redis_server import RedisServer
from tests.daemon_fixtures import Start
from tests.daemon_fixtures import start_daemon as start_daemon
from tests.programs import find_program
from tests.transports.daemon import RunningDaemon, until_ready

DATA = Path(__file__).parent / "data"
OLD = ["0.1-first", "0.1-last"]
BACKENDS = ["sqlite", "redis"]


def unpacked(name: str) -> bytes:
    """Return the content of a compressed file."""
    return gzip.decompress((DATA / f"{name}.gz").read_bytes())


@pytest.fixture(params=[f"{old}.{backend}" for old in OLD for backend in BACKENDS])
def history(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[dict[str, str], Any]]:
    """An old history: the settings with which a daemon reads it, and what version 0.1 has answered."""
    name = request.param
    expected = json.loads((DATA / f"{name}.json").read_bytes())
    if name.endswith("sqlite"):
        (tmp_path / "history.sqlite").write_bytes(unpacked(name))
        yield {"backend.data_dir": str(tmp_path)}, expected
        return
    redis = RedisServer(tmp_path / "redis").start()
    try:
        fill = [find_program("redis-cli", "redis-tools"), "-u", redis.url, "--pipe"]
        subprocess.run(fill, input=unpacked(name), check=True, capture_output=True)
        yield {"backend.url": redis.url}, expected
    finally:
        redis.kill()


def file_version(file: Path) -> int:
    """Return the version of the tables in a file."""
    with closing(sqlite3.connect(file)) as db:
        return int(db.execute("PRAGMA user_version").fetchone()[0])


async def texts(daemon: RunningDaemon, path: str) -> list[str]:
    """Return the data of a query of the history, which must have no gap."""
    answer = await daemon.request("GET", path)
    assert "pushd-gap" not in answer.headers
    return [message["data"] for message in json.loads(answer.body)]


async def test_old_history_is_read_and_continued(start_daemon: Start, history: tuple[dict[str, str], Any]) -> None:
    settings, expected = history
    file = Path(settings["backend.data_dir"], "history.sqlite") if "backend.data_dir" in settings else None
    assert file is None or file_version(file) < VERSION
    daemon = await start_daemon(settings)
    await until_ready(daemon)
    assert file is None or file_version(file) == VERSION
    answer = await daemon.request("GET", "/history/**?since=all")
    old = expected["history"]
    assert [each | before for each, before in zip(json.loads(answer.body), old, strict=True)] == json.loads(answer.body)
    assert await texts(daemon, f"/history/chat/1?since={expected['cursor']}") == ["three", "vier \u20ac"]
    (epoch, _, newest), new = old[-1]["id"].rpartition("-"), (await daemon.publish("chat/1", "new")).rpartition("-")
    assert new[0] == epoch
    assert int(new[2]) > int(newest)
    assert await texts(daemon, f"/history/**?since={old[-1]['id']}") == ["new"]
    ended = await daemon.request("GET", "/longpoll/ended?since=all&timeout=0")
    assert b'"last"' in ended.body
