"""Storms of dead peers: their process is suspended, or their network is cut."""

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.daemon.real import eventually
from tests.soak.transports import Ports
from tests.storm.idle_clients import CHANNEL, DISCONNECTED, TRANSPORTS, IdleClients
from tests.storm.testbed import StormTestbed

_SUSPENDED = 5
"""Suspended readers over each transport."""
_MESSAGE = b"x" * (64 << 10)
_MESSAGES = 400
"""More than the socket buffers on both sides can hold, which is some 10 MB for each reader."""
_QUEUE = 1 << 20
_MEMORY_TOLERANCE = 32 << 20
"""Bytes by which memory may grow besides the queues: for the history of the channel and the allocator."""
_HALF_OPEN = 500
"""Half-open connections over each transport."""
_DETECTION_SECONDS = 60.0
_DAEMON_ADDRESS, _CLIENT_ADDRESS = "198.18.77.1", "198.18.77.2"  # RFC 2544


def suspended_readers(testbed: StormTestbed, size: int) -> str:
    """Publish to readers whose process is suspended: queues are bounded, and the slow-consumer policies apply."""
    process, daemon, largest = psutil.Process(testbed.daemon.pid), testbed.daemon, 0.0
    slow = 'pushd_disconnects_total{reason="slow"}'
    memory, before, readers = process.memory_info().rss, daemon.counter(slow), _SUSPENDED * TRANSPORTS
    with IdleClients("127.0.0.1", testbed.ports, _SUSPENDED) as clients:
        clients.suspend()

        def storm() -> None:
            nonlocal largest
            for _ in range(_MESSAGES):
                daemon.publish(CHANNEL, _MESSAGE)
                largest = max(largest, daemon.counter("pushd_queue_bytes"))

        latency = testbed.latency_during(storm)
        growth = process.memory_info().rss - memory
        disconnected = daemon.counter(slow) - before
    assert largest <= readers * _QUEUE, f"{largest / 2**20:.1f} MiB are queued for {readers} readers"
    assert disconnected == _SUSPENDED * DISCONNECTED, f"{disconnected:.0f} were disconnected"
    assert growth <= readers * _QUEUE + _MEMORY_TOLERANCE, f"memory grew by {growth / 2**20:.1f} MiB"
    return (
        f"{readers} readers: at most {largest / 2**20:.1f} MiB queued, {disconnected:.0f} disconnected, "
        f"memory up by {growth / 2**20:.1f} MiB; live p99 {latency * 1000:.1f} ms"
    )


def half_open_connections(testbed: StormTestbed, size: int) -> str:
    """Cut the network of thousands of peers over every transport: all are detected as dead within a minute.

    This storm has a daemon of its own, which listens on that network.
    """
    if not _can_create_networks():
        return "skipped: a network that can be cut requires ip(8) and root"
    listen = f"tcp:0:interface={_DAEMON_ADDRESS}"
    with (
        tempfile.TemporaryDirectory() as directory,
        _network() as (prefix, cut),
        StormTestbed(Path(directory), "--http", listen, "--tcp", listen, "--open") as other,
    ):
        other.record_baseline()
        found = dict(re.findall(rf"(http|tcp) listens on {re.escape(_DAEMON_ADDRESS)}:([0-9]+)", other.daemon.log))
        ports = Ports(int(found["http"]), int(found["tcp"]))
        before = other.peers()
        with IdleClients(_DAEMON_ADDRESS, ports, _HALF_OPEN, prefix):
            expected = before + _HALF_OPEN * TRANSPORTS
            assert eventually(lambda: other.peers() == expected, _DETECTION_SECONDS), (
                f"{other.peers() - before:.0f} are connected"
            )
            cut()
            cut_at = time.monotonic()
            assert eventually(lambda: other.peers() == before, _DETECTION_SECONDS), (
                f"{other.peers() - before:.0f} are left"
            )
            took = time.monotonic() - cut_at
            other.assert_baseline()
    return f"{_HALF_OPEN * TRANSPORTS} peers gone in {took:.0f} s"


@contextmanager
def _network() -> Iterator[tuple[list[str], Callable[[], None]]]:
    """Create a network of two addresses, one of them in a network namespace; see ip-netns(8).

    Yield the beginning of a command that runs another command in the namespace, and a function that cuts the network.
    """
    name = f"storm{os.getpid()}"
    daemon_link, client_link = f"{name}a", f"{name}b"
    _ip("netns", "add", name)
    try:
        _ip("link", "add", daemon_link, "type", "veth", "peer", "name", client_link, "netns", name)
        _ip("addr", "add", f"{_DAEMON_ADDRESS}/30", "dev", daemon_link)
        _ip("link", "set", daemon_link, "up")
        _ip("-n", name, "addr", "add", f"{_CLIENT_ADDRESS}/30", "dev", client_link)
        _ip("-n", name, "link", "set", client_link, "up")
        yield ["ip", "netns", "exec", name], lambda: _ip("-n", name, "link", "set", client_link, "down")
    finally:
        _ip("netns", "del", name)
        subprocess.run(["ip", "link", "del", daemon_link], stderr=subprocess.DEVNULL, check=False)  # if it still exists


def _can_create_networks() -> bool:
    name = f"storm{os.getpid()}may"
    try:
        _ip("netns", "add", name)
        _ip("netns", "del", name)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
