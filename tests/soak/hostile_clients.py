"""Trouble: peers that send what is broken, that read nothing, and that come in a crowd and go at once."""

import asyncio
import random
import socket
from collections.abc import Sequence

from tests.soak.transports import Ports, dial
from tests.system.test_mutations import HTTP, LINES, WEBSOCKET, mutate

_JUNK_PAUSE = 0.05
_JUNK_PATIENCE = 0.5
_STALL_SECONDS = 20.0
_SMALL = 4096
_HISTORY = b"HIST soak/* 1000\r\n"
_CROWD = 200
_CROWD_PAUSE = 10.0


async def junk(ports: Ports, choose: random.Random) -> None:
    """Send broken input to each listener in turn, for ever."""
    aims: Sequence[tuple[int, Sequence[bytes]]] = ((ports.http, HTTP), (ports.http, WEBSOCKET), (ports.tcp, LINES))
    while True:
        for port, good in aims:
            await _send(port, mutate(choose, good))
            await asyncio.sleep(_JUNK_PAUSE)


async def stall(ports: Ports) -> None:
    """Listen, or ask without end, but read nothing; again and again."""
    asks = (
        (ports.http, b"GET /stream/soak/*?since=all HTTP/1.1\r\nHost: a\r\n\r\n"),
        (ports.tcp, b"SUB soak/* since=all\r\n"),
        (ports.http, b"GET /sse/soak/*?slow=drop HTTP/1.1\r\nHost: a\r\n\r\n"),
        (ports.tcp, _HISTORY * 1000),
    )
    while True:
        for port, ask in asks:
            with socket.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL)
                sock.setblocking(False)
                await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
                sock.send(ask)
                await asyncio.sleep(_STALL_SECONDS)


async def crowd(ports: Ports) -> None:
    """Come in a crowd and go at once, again and again."""
    while True:
        made = await asyncio.gather(
            *(asyncio.open_connection("127.0.0.1", port) for port in ports for _ in range(_CROWD // 2))
        )
        for _, writer in made:
            writer.transport.abort()
        await asyncio.sleep(_CROWD_PAUSE)


async def _send(port: int, data: bytes) -> None:
    async with dial(port) as (reader, writer):
        try:
            async with asyncio.timeout(_JUNK_PATIENCE):
                writer.write(data)
                writer.write_eof()
                await reader.read()
        except (OSError, TimeoutError):
            pass
