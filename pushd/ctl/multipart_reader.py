"""A reader of ``multipart/mixed`` streams (RFC 2046, section 5.1.3)."""

import base64
import json
from collections.abc import Iterator
from email.message import Message
from http.client import HTTPResponse, parse_headers
from typing import Any
from urllib.parse import unquote

_GAP = ("topic", "from", "to", "reason")


def read_multipart(response: HTTPResponse) -> Iterator[dict[str, Any]]:
    """Yield the messages and control objects of a ``multipart/mixed`` response.

    :raises ValueError: when the body is malformed or incomplete.
    """
    boundary = response.headers.get_param("boundary")
    if not isinstance(boundary, str):
        raise ValueError("response has no multipart boundary")
    delimiter = b"--" + boundary.encode("ascii")
    _expect(response, delimiter)
    while True:
        headers = parse_headers(response)
        yield from _control_items(headers)
        data = response.read(int(headers["Content-Length"])) if "Pushd-Channel" in headers else b""
        if "Pushd-Channel" in headers:
            yield _message(headers, data)
        _expect(response, b"")
        line = response.readline().rstrip(b"\r\n")
        if line == delimiter + b"--":
            return
        if line != delimiter:
            raise ValueError("part is not followed by a boundary")


def _expect(response: HTTPResponse, expected: bytes) -> None:
    if response.readline().rstrip(b"\r\n") != expected:
        raise ValueError("multipart body is incomplete or malformed")


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
    message: dict[str, Any] = {**id, "channel": channel, "content_type": content_type}
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
