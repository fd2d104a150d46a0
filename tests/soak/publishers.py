"""Publishers: each numbers what it publishes on a channel of its own, and waits for each answer."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from tests.soak.transports import Ports, dial

_PAUSE = 0.05
_PADDING = 2000
_HOST = "127.0.0.1"

_Post = Callable[[str, str], Awaitable[bool]]


async def publish(kind: str, ports: Ports, last: dict[str, int], until: asyncio.Event) -> None:
    """Publish on ``soak/KIND`` until the event is set; `last` has the last number that was accepted.

    :raises AssertionError: it was not accepted.
    """
    channel, choose, number = f"soak/{kind}", random.Random(kind), 0
    async with KINDS[kind](ports) as post:
        while not until.is_set():
            data = {"number": number, "at": time.monotonic(), "padding": "x" * choose.randrange(_PADDING)}
            assert await post(channel, json.dumps(data)), f"{kind}: number {number} was not accepted"
            last[channel] = number
            number += 1
            await asyncio.sleep(_PAUSE * 2 * choose.random())


@asynccontextmanager
async def _by_http(ports: Ports) -> AsyncIterator[_Post]:
    async with dial(ports.http) as (reader, writer):

        async def post(channel: str, data: str) -> bool:
            kind = "Host: localhost\r\nContent-Type: application/json"
            head = f"POST /pub/{channel} HTTP/1.1\r\n{kind}\r\nContent-Length: {len(data)}\r\n\r\n"
            writer.write((head + data).encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            await reader.readuntil(b"}\n")
            return answer.startswith((b"HTTP/1.1 201 ", b"HTTP/1.1 202 "))

        yield post


@asynccontextmanager
async def _by_lines(ports: Ports) -> AsyncIterator[_Post]:
    async with dial(ports.tcp) as (reader, writer):
        await reader.readline()

        async def post(channel: str, data: str) -> bool:
            writer.write(f'PUBJ {{"channel":"{channel}","data":{data}}}\r\n'.encode())
            return (await reader.readline()).startswith(b"+OK ")

        yield post


@asynccontextmanager
async def _by_websocket(ports: Ports) -> AsyncIterator[_Post]:
    url = f"ws://{_HOST}:{ports.http}/ws"
    async with connect(url, subprotocols=[Subprotocol("pushd.v1")], compression=None, proxy=None) as socket:

        async def post(channel: str, data: str) -> bool:
            await socket.send(f'{{"publish":"{channel}","data":{data}}}')
            return bool(json.loads(await socket.recv()).get("ok"))

        yield post


KINDS = {"http": _by_http, "lines": _by_lines, "websocket": _by_websocket}
"""Ways of publishing, by the name of their channel."""
