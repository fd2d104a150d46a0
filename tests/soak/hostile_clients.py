"""Hostile clients: they send malformed input, read nothing, or connect in bursts and disconnect immediately."""

import asyncio
import random
import socket
from collections.abc import Sequence

from tests.soak.transports import Ports, connection
from tests.system.test_mutations import HTTP, LINES, WEBSOCKET, mutate

_JUNK_PAUSE = 0.05
_JUNK_TIMEOUT = 0.5
_STALL_SECONDS = 20.0
_RECEIVE_BUFFER = 4096
_HISTORY = b"HIST soak/* 1000\r\n"
_BURST = 200
_BURST_PAUSE = 10.0


async def send_malformed_input(ports: Ports, rng: random.Random) -> None:
    """Send malformed input to each listener in turn, until cancelled."""
    targets: Sequence[tuple[int, Sequence[bytes]]] = ((ports.http, HTTP), (ports.http, WEBSOCKET), (ports.tcp, LINES))
    while True:
        for port, valid in targets:
            await _send(port, mutate(rng, valid))
            await asyncio.sleep(_JUNK_PAUSE)


async def read_nothing(ports: Ports) -> None:
    """Subscribe or send many commands, without reading the replies, until cancelled."""
    requests = (
        (ports.http, b"GET /stream/soak/*?since=all HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (ports.tcp, b"SUB soak/* since=all\r\n"),
        (ports.http, b"GET /sse/soak/*?slow=drop HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (ports.tcp, _HISTORY * 1000),
    )
    while True:
        for port, request in requests:
            with socket.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
                sock.setblocking(False)
                await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
                sock.send(request)
                await asyncio.sleep(_STALL_SECONDS)


async def connect_in_bursts(ports: Ports) -> None:
    """Open many connections and abort them at once, until cancelled."""
    while True:
        connections = await asyncio.gather(
            *(asyncio.open_connection("127.0.0.1", port) for port in ports for _ in range(_BURST // 2))
        )
        for _, writer in connections:
            writer.transport.abort()
        await asyncio.sleep(_BURST_PAUSE)


async def _send(port: int, data: bytes) -> None:
    async with connection(port) as (reader, writer):
        try:
            async with asyncio.timeout(_JUNK_TIMEOUT):
                writer.write(data)
                writer.write_eof()
                await reader.read()
        except (OSError, TimeoutError):
            pass
