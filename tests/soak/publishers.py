"""Publishers: each publishes numbered messages on its own channel, and waits for every reply."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from tests.soak.transports import Ports, connection

_PAUSE = 0.05
_PADDING = 2000
_HOST = "127.0.0.1"

_Post = Callable[[str, str], Awaitable[bool]]


async def publish(kind: str, ports: Ports, published: dict[str, int], stop: asyncio.Event) -> None:
    """Publish on ``soak/KIND`` until the event is set.

    :param published: receives the last number that was accepted, by channel.
    :raises AssertionError: when a message is not accepted.
    """
    channel, rng, number = f"soak/{kind}", random.Random(kind), 0
    async with PUBLISHERS[kind](ports) as post:
        while not stop.is_set():
            data = {"number": number, "at": time.monotonic(), "padding": "x" * rng.randrange(_PADDING)}
            assert await post(channel, json.dumps(data)), f"{kind}: number {number} was not accepted"
            published[channel] = number
            number += 1
            await asyncio.sleep(_PAUSE * 2 * rng.random())


@asynccontextmanager
async def _http(ports: Ports) -> AsyncIterator[_Post]:
    async with connection(ports.http) as (reader, writer):

        async def post(channel: str, data: str) -> bool:
            headers = "Host: localhost\r\nContent-Type: application/json"
            head = f"POST /pub/{channel} HTTP/1.1\r\n{headers}\r\nContent-Length: {len(data)}\r\n\r\n"
            writer.write((head + data).encode())
            response = await reader.readuntil(b"\r\n\r\n")
            await reader.readuntil(b"}\n")
            return response.startswith((b"HTTP/1.1 201 ", b"HTTP/1.1 202 "))

        yield post


@asynccontextmanager
async def _lines(ports: Ports) -> AsyncIterator[_Post]:
    async with connection(ports.tcp) as (reader, writer):
        await reader.readline()

        async def post(channel: str, data: str) -> bool:
            writer.write(f'PUBJ {{"channel":"{channel}","data":{data}}}\r\n'.encode())
            return (await reader.readline()).startswith(b"+OK ")

        yield post


@asynccontextmanager
async def _websocket(ports: Ports) -> AsyncIterator[_Post]:
    url = f"ws://{_HOST}:{ports.http}/ws"
    async with connect(url, subprotocols=[Subprotocol("pushd.v1")], compression=None, proxy=None) as socket:

        async def post(channel: str, data: str) -> bool:
            await socket.send(f'{{"publish":"{channel}","data":{data}}}')
            return bool(json.loads(await socket.recv()).get("ok"))

        yield post


PUBLISHERS = {"http": _http, "lines": _lines, "websocket": _websocket}
"""Transports for publishing, by the last segment of their channel."""
