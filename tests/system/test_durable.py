"""Durable history: a full disk, a restart with a million messages, a second daemon, `--check`."""

import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.daemon.real import eventually
from tests.system.durable import NO_EVICTION, DurableDaemon, fill, twistd

pytestmark = pytest.mark.system

CHANNELS = 1000
STARTS = 3
"""Of which the best counts: the same work takes more CPU time on a busy machine."""
LARGE = bytes(200_000)


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[Callable[..., DurableDaemon]]:
    """Start daemons, which are stopped after the test."""
    running: list[DurableDaemon] = []

    def start(*options: str, home: Path = tmp_path, data: Path | None = None) -> DurableDaemon:
        running.append(DurableDaemon(home, *options, data=data))
        return running[-1]

    yield start
    for daemon in running:
        if daemon.is_alive:
            daemon.stop()


class FullDisk:
    """A small disk for the history: a file system if permitted, else a limit on the file size."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir()
        options = ["mount", "-t", "tmpfs", "-o", "size=4m", "pushd-test", str(place)]
        self.is_mounted = subprocess.run(options, capture_output=True, check=False).returncode == 0

    def limit(self, daemon: DurableDaemon) -> None:
        """Set it up."""
        if not self.is_mounted:
            resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (4 << 20, resource.RLIM_INFINITY))

    def widen(self, daemon: DurableDaemon) -> None:
        """Make room."""
        if self.is_mounted:
            subprocess.run(["mount", "-o", "remount,size=64m", str(self.place)], check=True)
        else:
            unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, unlimited)

    def close(self) -> None:
        """Remove it."""
        if self.is_mounted:
            subprocess.run(["umount", "-l", str(self.place)], check=True)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[FullDisk]:
    """A small disk."""
    disk = FullDisk(tmp_path / "disk")
    yield disk
    disk.close()


def test_full_disk_refuses_publishes_until_there_is_room(
    full_disk: FullDisk, durable: Callable[..., DurableDaemon]
) -> None:
    daemon = durable("--backend-sync", "normal", data=full_disk.place / "data")
    full_disk.limit(daemon)
    with daemon.lines() as listener:
        listener.send(b"SUB small\r\n")
        assert listener.line().startswith(b"+OK SUB small cursor=")
        accepted: list[str] = []
        answer = daemon.request("POST", "/pub/large", body=LARGE)
        while answer.status == 202 and len(accepted) < 100:
            accepted.append(answer.json()["id"])
            answer = daemon.request("POST", "/pub/large", body=LARGE)
        assert (answer.status, answer.code) == (507, "storage")
        assert answer.headers["retry-after"]
        assert daemon.request("GET", "/health/live").status == 200
        ready = daemon.request("GET", "/health/ready")
        assert (ready.status, ready.json()["ready"]) == (503, False)
        assert "disk" in ready.json()["reason"]
        with daemon.lines() as lines:
            lines.send(b"PUB small hidden\r\nPING\r\n")
            assert lines.line().startswith(b"-ERR storage ")
            assert lines.line() == b"PONG\r\n"
        assert [each["id"] for each in daemon.history("large")] == accepted
        full_disk.widen(daemon)
        assert eventually(lambda: daemon.request("GET", "/health/ready").status == 200, 30.0)
        receipt = daemon.publish("small", b"seen")
        assert receipt["subscribers"] == 1
        assert listener.line() == f"MSG small {receipt['id']} seen\r\n".encode()
    assert daemon.counter("pushd_disk_failures_total") >= 1
    daemon.assert_healthy()
    daemon.stop()
    again = durable(data=full_disk.place / "data")
    assert [each["id"] for each in again.history("large,small")] == [*accepted, receipt["id"]]


def test_second_daemon_is_refused(tmp_path: Path, durable: Callable[..., DurableDaemon]) -> None:
    daemon = durable()
    done = twistd(tmp_path / "other", "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 1
    assert done.stderr == f"pushd: {tmp_path / 'data'} is in use by another pushd (process {daemon.pid})\n"
    assert "Traceback" not in done.stdout
    assert "id" in daemon.publish("a")


def test_check_verifies_the_file(tmp_path: Path, durable: Callable[..., DurableDaemon]) -> None:
    daemon = durable()
    daemon.publish("a", b"some text to be found")
    data = tmp_path / "data"
    done = twistd(tmp_path / "other", "--data-dir", str(data), "--check")
    assert done.returncode == 0
    assert done.stdout.startswith("pushd: configuration is valid (no file)\n")
    assert f"pushd: the history is intact ({data / 'history.sqlite'}: 1 messages in 1 channels, " in done.stdout
    daemon.stop()
    file = data / "history.sqlite"
    file.write_bytes(file.read_bytes().replace(b"to be found", b"to be fOund"))
    done = twistd(tmp_path / "other", "--data-dir", str(data), "--check")
    assert done.returncode == 1
    assert done.stderr == f"pushd: option --data-dir: {file} is damaged: message 1 fails its checksum\n"


@pytest.mark.parametrize("messages", [50_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_start_with_many_messages_is_fast_and_needs_little_memory(
    tmp_path: Path, durable: Callable[..., DurableDaemon], messages: int
) -> None:
    epoch = fill_directory(tmp_path / "full", messages)
    empty = durable(home=tmp_path / "empty")
    small, usual = empty.memory(), empty.cpu_seconds()
    for _ in range(STARTS):
        daemon = durable(*NO_EVICTION, home=tmp_path / "full")
        seconds = daemon.cpu_seconds()
        assert daemon.request("GET", "/health/ready").status == 200
        if seconds < 2.0 and seconds - usual < 0.8:
            break
        daemon.stop()
    assert seconds < 2.0 and seconds - usual < 0.8, (seconds, usual)
    assert daemon.counter("pushd_history_messages") == messages
    assert daemon.publish("c/7")["id"] == f"{epoch}-{messages + 1}"
    # The oldest cursor, of one of many channels.
    answer = daemon.request("GET", f"/history/c/7?since={epoch}-0&limit=10000")
    assert len(answer.json()) == messages // CHANNELS + 1
    assert "pushd-gap" not in answer.headers
    # The same of all channels, while other clients publish and subscribe.
    with daemon.lines() as lines, daemon.lines() as live:
        live.send(b"SUB live\r\n")
        live.line()
        lines.send(f"SUB ** since={epoch}-0\r\n".encode())
        assert lines.line().startswith(b"+OK SUB ** cursor=")
        waits = []
        for seq in range(1, 20_001):
            assert lines.line().split(b" ", 3)[2] == f"{epoch}-{seq}".encode()
            if seq % 2000 == 0:
                began = time.monotonic()
                live.send(b"PUB live x\r\n")
                assert {live.line()[:4], live.line()[:4]} == {b"+OK ", b"MSG "}
                waits.append(time.monotonic() - began)
        assert sorted(waits)[len(waits) // 2] < 0.5
        assert daemon.memory() - small < 60 << 20
    daemon.assert_healthy()


def fill_directory(home: Path, messages: int) -> str:
    """Write a large history."""
    (home / "data").mkdir(parents=True)
    return fill(home / "data", messages, CHANNELS)
