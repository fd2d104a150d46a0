"""Subscribes by ``/mixed``: the parts of a ``multipart/mixed`` body (RFC 2046, section 5.1.3)."""

import base64
import json
from collections.abc import Iterator, Mapping
from email.message import Message
from http.client import HTTPException, IncompleteRead, parse_headers
from io import RawIOBase
from typing import Any
from urllib.parse import unquote

from pushd.client import ConnectionFailed
from pushd.client.core.interface import Closed, Connection, HttpRequest, HttpResponse
from pushd.client.network.complete_response import CompleteLines
from pushd.client.network.sync_subscription import SyncSubscriptionNetwork
from pushd.client.sync import run
from pushd.ctl.wires.request import for_transport

_GAP = ("topic", "from", "to", "reason")


class MixedNetwork(SyncSubscriptionNetwork):
    """Opens ``/mixed``."""

    async def open_stream(self, request: HttpRequest, idle_seconds: float) -> tuple[HttpResponse, Connection | None]:
        """See `SyncSubscriptionNetwork`."""
        response, connection = await super().open_stream(for_transport(request, "mixed"), idle_seconds)
        return response, None if connection is None else PartConnection(connection, response.headers)


class PartConnection:
    """Returns the parts of a response body as JSON objects, after the start cursor, which is in the headers."""

    def __init__(self, connection: Connection, headers: Mapping[str, str]) -> None:
        self._connection = connection
        self._objects = self._read(headers)

    async def receive(self) -> bytes | str | Closed:
        """Return the next object. Raises as `Connection`."""
        try:
            item = next(self._objects, None)
        except IncompleteRead as error:
            raise ConnectionFailed("the connection was lost within a part") from error
        except (ValueError, HTTPException) as error:
            raise ConnectionFailed(f"the stream is not one of pushd: {error}") from error
        return Closed(None) if item is None else json.dumps(item)

    def _read(self, headers: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        yield {
            "type": "begin",
            "cursor": headers.get("pushd-cursor"),
            "connection": headers.get("pushd-connection"),
        }
        yield from read_multipart(CompleteLines(_Body(self._connection)), headers.get("content-type", ""))

    async def send(self, text: str) -> None:
        """Refuse: a response has one direction."""
        await self._connection.send(text)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()


class _Body(RawIOBase):
    """A response body as a raw file."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        if not self._rest:
            piece = run(self._connection.receive())
            self._rest = piece if isinstance(piece, bytes) else b""
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def read_multipart(body: CompleteLines, content_type: str) -> Iterator[dict[str, Any]]:
    """Yield the messages and control objects of a ``multipart/mixed`` body.

    :raises IncompleteRead: when the body ends within a part.
    :raises ValueError: when it is malformed.
    """
    parameters = Message()
    parameters["Content-Type"] = content_type
    boundary = parameters.get_param("boundary")
    if not isinstance(boundary, str):
        raise ValueError("response has no multipart boundary")
    delimiter = b"--" + boundary.encode("ascii")
    _expect(body, delimiter)
    while True:
        headers = parse_headers(body)
        yield from _control_items(headers)
        if "Pushd-Channel" in headers:
            yield _message(headers, _read(body, int(headers.get("Content-Length", ""))))
        _expect(body, b"")
        line = body.readline().rstrip(b"\r\n")
        if line == delimiter + b"--":
            return
        if line != delimiter:
            raise ValueError("part is not followed by a boundary")


def _expect(body: CompleteLines, expected: bytes) -> None:
    if body.readline().rstrip(b"\r\n") != expected:
        raise ValueError("multipart body is malformed")


def _read(body: CompleteLines, size: int) -> bytes:
    data = body.read(size)
    if len(data) < size:
        raise IncompleteRead(data, size - len(data))
    return data


def _control_items(headers: Message) -> Iterator[dict[str, Any]]:
    for name, value in headers.items():
        if name == "Pushd-Gap":
            yield {"type": "gap"} | dict(zip(_GAP, map(unquote, value.split(" ")), strict=True))
        elif name == "Pushd-End":
            yield {"type": "end", "channel": unquote(value)}
        elif name == "Pushd-Ping":
            yield {"type": "ping"}


def _message(headers: Message, data: bytes) -> dict[str, Any]:
    """Return a part as a JSON message, without the fields that parts do not carry (`time`, `prev`)."""
    if headers["Content-Transfer-Encoding"] == "base64":
        data = base64.b64decode(data)
    content_type = headers["Content-Type"]
    channel = unquote(headers["Pushd-Channel"])
    id = {"id": headers["Pushd-Id"]} if "Pushd-Id" in headers else {"kept": False}
    message: dict[str, Any] = {**id, "channel": channel, "time": None, "content_type": content_type}
    if "Pushd-Event" in headers:
        message["event"] = unquote(headers["Pushd-Event"])
    media_type = content_type.partition(";")[0].strip().lower()
    try:
        if media_type == "application/json":
            return message | {"data": json.loads(data)}
        if media_type.startswith("text/"):
            return message | {"data": data.decode()}
    except ValueError:
        pass
    return message | {"data_base64": base64.b64encode(data).decode()}
