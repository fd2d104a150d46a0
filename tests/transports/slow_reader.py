"""Clients that stop reading. The kernel buffers up to some megabytes before the daemon notices."""

import socket

from twisted.internet.tcp import Server

from tests.transports.client import Client
from tests.transports.daemon import RunningDaemon, turns, until

PIECE = b"x" * (64 << 10)
LARGE_HISTORY = {"history.bytes": "64MiB"}
"""Settings with which the history keeps everything that a test sends."""
_MOST = 100
_SMALL = 16 << 10


def shrink(daemon: RunningDaemon) -> None:
    """Shrink the send buffers of the daemon's open connections."""
    from twisted.internet import reactor

    for reader in reactor.getReaders():
        if isinstance(reader, Server) and reader.getHost().port in daemon.ports.values():
            reader.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SMALL)


async def stall(daemon: RunningDaemon, client: Client, channel: str = "a") -> list[str]:
    """Stop a client, the first subscriber to `channel`, from reading, and publish until the daemon pauses it.

    Return the ids of the messages that were sent: the client receives them once it reads again.
    """
    client.stall()
    shrink(daemon)
    subscriber = daemon.subscribers(channel)[0]
    ids: list[str] = []
    while not subscriber.is_paused:
        assert len(ids) < _MOST, "the kernel takes everything"
        ids.append(await daemon.publish(channel, PIECE))
        await turns()
    return ids


async def stall_in_replay(daemon: RunningDaemon, client: Client, slow: str | None = None) -> int:
    """Fill channel `a`, and have a client subscribe to all of it and stop reading; return the number of messages."""
    await daemon.publish_all(*[("a", PIECE.decode())] * _MOST)
    await client.subscribe("a", since="all", slow=slow)
    client.stall()
    await until(lambda: daemon.subscribers("a")[0].is_paused, "a busy subscriber")
    await turns()
    assert daemon.subscribers("a")[0].is_paused
    return _MOST
