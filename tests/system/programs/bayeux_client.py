"""Subscribes with aiocometd-ng, acknowledging what it receives; prints the same as ``bayeux_client.mjs``.

Arguments: the URL, the transport, the channel.
"""

import asyncio
import json
import sys
from typing import Any

from aiocometd_ng.client import Client
from aiocometd_ng.constants import ConnectionType
from aiocometd_ng.extensions import Extension


class Ack(Extension):
    """The extension of CometD, which the client does not have."""

    def __init__(self) -> None:
        self._batch = 0

    async def incoming(self, payload: list[Any], headers: Any = None) -> None:
        """See `Extension`."""
        for message in payload:
            ack = message.get("ext", {}).get("ack")
            if message["channel"] == "/meta/handshake" and message["successful"]:
                self._batch = 0
                print("handshake", flush=True)
            if message["channel"] == "/meta/connect" and message["successful"] and isinstance(ack, int):
                self._batch = ack

    async def outgoing(self, payload: list[Any], headers: Any) -> None:
        """See `Extension`."""
        for message in payload:
            if message["channel"] == "/meta/handshake":
                message.setdefault("ext", {})["ack"] = True
            if message["channel"] == "/meta/connect":
                message.setdefault("ext", {})["ack"] = self._batch


async def main(url: str, transport: str, channel: str) -> None:
    """Print what a channel receives."""
    async with Client(url, ConnectionType(transport), extensions=[Ack()], connection_timeout=0) as client:
        await client.subscribe(channel)
        client._transport._reconnect_timeout = 0.05  # type: ignore[union-attr]  # it has no option for it
        print("ready", flush=True)
        async for message in client:
            print(json.dumps(message["data"]), flush=True)


asyncio.run(main(*sys.argv[1:]))
