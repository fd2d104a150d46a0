"""Reading the parts of a ``multipart/mixed`` (RFC 2046, section 5.1.3) as the messages that they are."""

import base64
import json
from collections.abc import Iterator
from email.message import Message
from http.client import HTTPResponse, parse_headers
from typing import Any
from urllib.parse import unquote

_GAP = ("topic", "from", "to", "reason")


def read_multipart(response: HTTPResponse) -> Iterator[dict[str, Any]]:
    """Give the messages and control objects of a stream of parts.

    :raises ValueError: it is no such stream, or breaks off.
    """
    boundary = response.headers.get_param("boundary")
    if not isinstance(boundary, str):
        raise ValueError("the answer has no boundary")
    delimiter = b"--" + boundary.encode("ascii")
    _expect(response, delimiter)
    while True:
        headers = parse_headers(response)
        yield from _control_items(headers)
        data = response.read(int(headers["Content-Length"])) if "Pushd-Id" in headers else b""
        if "Pushd-Id" in headers:
            yield _message(headers, data)
        _expect(response, b"")
        line = response.readline().rstrip(b"\r\n")
        if line == delimiter + b"--":
            return
        if line != delimiter:
            raise ValueError("a part does not end at a boundary")


def _expect(response: HTTPResponse, expected: bytes) -> None:
    if response.readline().rstrip(b"\r\n") != expected:
        raise ValueError("the parts break off")


def _control_items(headers: Message) -> Iterator[dict[str, Any]]:
    for name, value in headers.items():
        if name == "Pushd-Gap":
            yield {"type": "gap"} | dict(zip(_GAP, map(unquote, value.split(" ")), strict=True))
        elif name == "Pushd-End":
            yield {"type": "end", "channel": unquote(value)}
        elif name == "Pushd-Ping":
            yield {"type": "ping"}


def _message(headers: Message, data: bytes) -> dict[str, Any]:
    """Give a part as the JSON message would be, but for what it does not tell: the time, and what came before."""
    if headers["Content-Transfer-Encoding"] == "base64":
        data = base64.b64decode(data)
    content_type = headers["Content-Type"]
    channel = unquote(headers["Pushd-Channel"])
    message: dict[str, Any] = {"id": headers["Pushd-Id"], "channel": channel, "content_type": content_type}
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
