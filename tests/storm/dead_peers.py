"""Storms of peers that fall silent: their process is stopped, or the network between is gone."""

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.doors.real import eventually
from tests.soak.transports import Ports
from tests.storm.idle_clients import CHANNEL, DISCONNECTED, WAYS, Sleepers
from tests.storm.testbed import Stage

_STOPPED = 5
"""By each way."""
_MESSAGE = b"x" * (64 << 10)
_MESSAGES = 400
"""So many that what the kernels hold on both sides, some 10 MB for each reader, is no help."""
_QUEUE = 1 << 20
_SPARE = 32 << 20
"""Bytes that memory may grow by besides the queues: the history of the channel, and what the allocator keeps."""
_CUT_OFF = 500
"""By each way."""
_GONE_SECONDS = 60.0
_HERE, _THERE = "198.18.77.1", "198.18.77.2"  # RFC 2544


def stopped(stage: Stage, size: int) -> str:
    """Publish to readers whose process is stopped: each is held to its queue, and let go or given gaps."""
    process, daemon, largest = psutil.Process(stage.daemon.pid), stage.daemon, 0.0
    slow = 'pushd_disconnects_total{reason="slow"}'
    memory, before, readers = process.memory_info().rss, daemon.counter(slow), _STOPPED * WAYS
    with Sleepers("127.0.0.1", stage.ports, _STOPPED) as sleepers:
        sleepers.stop()

        def storm() -> None:
            nonlocal largest
            for _ in range(_MESSAGES):
                daemon.publish(CHANNEL, _MESSAGE)
                largest = max(largest, daemon.counter("pushd_queue_bytes"))

        worst = stage.during(storm)
        grown = process.memory_info().rss - memory
        let_go = daemon.counter(slow) - before
    assert largest <= readers * _QUEUE, f"{largest / 2**20:.1f} MiB wait for {readers} readers"
    assert let_go == _STOPPED * DISCONNECTED, f"{let_go:.0f} were let go"
    assert grown <= readers * _QUEUE + _SPARE, f"memory grew by {grown / 2**20:.1f} MiB"
    return (
        f"{readers} readers: at most {largest / 2**20:.1f} MiB wait, {let_go:.0f} let go, "
        f"memory up by {grown / 2**20:.1f} MiB; live p99 {worst * 1000:.1f} ms"
    )


def half_open(stage: Stage, size: int) -> str:
    """Take the network away under thousands of peers, by every way: all are gone within a minute.

    It has a daemon of its own, which listens on that network.
    """
    if not _may_make_networks():
        return "not shown: a network that can be cut off takes ip(8) and the rights of root"
    listen = f"tcp:0:interface={_HERE}"
    with (
        tempfile.TemporaryDirectory() as directory,
        _network() as (within, cut),
        Stage(Path(directory), "--http", listen, "--tcp", listen, "--open") as other,
    ):
        other.begin()
        found = dict(re.findall(rf"(http|tcp) listens on {re.escape(_HERE)}:([0-9]+)", other.daemon.log))
        ports = Ports(int(found["http"]), int(found["tcp"]))
        before = other.peers()
        with Sleepers(_HERE, ports, _CUT_OFF, within):
            everybody = before + _CUT_OFF * WAYS
            assert eventually(lambda: other.peers() == everybody), f"{other.peers() - before:.0f} are there"
            cut()
            began = time.monotonic()
            assert eventually(lambda: other.peers() == before, _GONE_SECONDS), f"{other.peers() - before:.0f} are left"
            took = time.monotonic() - began
            other.assert_as_before()
    return f"{_CUT_OFF * WAYS} peers gone in {took:.0f} s"


@contextmanager
def _network() -> Iterator[tuple[list[str], Callable[[], None]]]:
    """Have a network of two addresses, of which the other belongs to a namespace; see ip-netns(8).

    Gives the words of a command that runs another there, and what cuts it off.
    """
    name = f"storm{os.getpid()}"
    here, there = f"{name}a", f"{name}b"
    _ip("netns", "add", name)
    try:
        _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
        _ip("addr", "add", f"{_HERE}/30", "dev", here)
        _ip("link", "set", here, "up")
        _ip("-n", name, "addr", "add", f"{_THERE}/30", "dev", there)
        _ip("-n", name, "link", "set", there, "up")
        yield ["ip", "netns", "exec", name], lambda: _ip("-n", name, "link", "set", there, "down")
    finally:
        _ip("netns", "del", name)
        subprocess.run(["ip", "link", "del", here], stderr=subprocess.DEVNULL, check=False)  # if it is still there


def _may_make_networks() -> bool:
    name = f"storm{os.getpid()}may"
    try:
        _ip("netns", "add", name)
        _ip("netns", "del", name)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
