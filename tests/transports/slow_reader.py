"""A reader that stalls, and what it takes until the daemon notices: the kernel takes up to some megabytes first."""

import socket

from twisted.internet.tcp import Server

from tests.transports.client import Client
from tests.transports.daemon import RunningDaemon, turns, until

PIECE = b"x" * (64 << 10)
ROOMY = {"history.bytes": "64MiB"}
"""Settings with which the history holds all that a test sends."""
_MOST = 100
_SMALL = 16 << 10


def shrink(daemon: RunningDaemon) -> None:
    """Make the send buffers of the daemon's open connections small."""
    from twisted.internet import reactor

    for reader in reactor.getReaders():
        if isinstance(reader, Server) and reader.getHost().port in daemon.ports.values():
            reader.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SMALL)


async def stall(daemon: RunningDaemon, client: Client, channel: str = "a") -> list[str]:
    """Let a peer, the first to name `channel`, read nothing, and publish until the daemon can send it no more.

    Gives the ids of what it was sent and will hear once it reads again.
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
    """Fill channel `a`, and let a peer subscribe to all of it and then read nothing; give the number of messages."""
    await daemon.publish_all(*[("a", PIECE.decode())] * _MOST)
    await client.subscribe("a", since="all", slow=slow)
    client.stall()
    await until(lambda: daemon.subscribers("a")[0].is_paused, "a busy subscriber")
    await turns()
    assert daemon.subscribers("a")[0].is_paused
    return _MOST
