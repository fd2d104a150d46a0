"""Ways to hear the daemon: each gives the JSON messages and control objects that come after a cursor.

Each is a generator that ends when the daemon ends the stream, and raises where it breaks.
"""

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException
from typing import Any, NamedTuple

from pushd.ctl.api_client import ApiClient, quote_path
from pushd.ctl.errors import RequestRefused, TemporarilyRefused, Unreachable
from pushd.ctl.multipart_reader import read_multipart

Item = dict[str, Any]
"""A message has ``id``; a control object has ``type``."""
_CONNECT_SECONDS = 30.0
_POLL_SECONDS = 25
_CLOSE_ENDED, _CLOSE_REFUSED = 4410, (1008, 4401, 4403)
"""Codes with which the daemon closes a WebSocket."""
STREAM_ENDED: Item = {"type": "ended"}
"""Is given in place of the end of a stream that has come to its end for good."""


class Target(NamedTuple):
    """Where and what to hear."""

    api: ApiClient
    tcp: tuple[str, int]
    topics: str
    slow: str | None = None


def subscribe_stream(target: Target, since: str | None) -> Iterator[Item]:
    """Hear an endless body of JSON lines."""
    query = {"since": since, "slow": target.slow}
    response = target.api.open("GET", f"/stream/{quote_path(target.topics)}", query)
    if response.status == 204:
        yield STREAM_ENDED
        return
    for line in response:
        yield json.loads(line)


def subscribe_sse(target: Target, since: str | None) -> Iterator[Item]:
    """Hear server-sent events (WHATWG HTML, section 9.2) whose data is JSON."""
    query = {"since": since, "slow": target.slow, "format": "json"}
    response = target.api.open("GET", f"/sse/{quote_path(target.topics)}", query)
    if response.status == 204:
        yield STREAM_ENDED
        return
    data: list[bytes] = []
    for line in response:
        field, _, value = line.rstrip(b"\n").partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif not line.strip() and data:
            yield json.loads(b"\n".join(data))
            data = []


def subscribe_mixed(target: Target, since: str | None) -> Iterator[Item]:
    """Hear parts of a ``multipart/mixed``."""
    response = target.api.open("GET", f"/mixed/{quote_path(target.topics)}", {"since": since, "slow": target.slow})
    if response.status == 204:
        yield STREAM_ENDED
        return
    yield from read_multipart(response)


def subscribe_longpoll(target: Target, since: str | None) -> Iterator[Item]:
    """Hear by one long poll after the other. Where a poll tells a gap, that comes before its messages."""
    path = f"/longpoll/{quote_path(target.topics)}"
    while True:
        response = target.api.open("GET", path, {"since": since, "timeout": _POLL_SECONDS})
        if reason := response.headers.get("Pushd-Gap"):
            yield {"type": "gap", "topic": target.topics, "from": since, "to": None, "reason": reason}
        if response.status == 200:
            yield from json.loads(response.read())
        else:
            yield {"type": "ping"}
        if "Pushd-End" in response.headers:
            yield STREAM_ENDED
            return
        since = response.headers.get("Pushd-Id") or response.headers.get("Last-Event-ID") or since


def subscribe_tcp(target: Target, since: str | None) -> Iterator[Item]:
    """Hear by the line protocol."""
    try:
        sock = socket.create_connection(target.tcp, _CONNECT_SECONDS)
    except OSError as error:
        host, port = target.tcp
        raise Unreachable(f"{host}:{port} can not be reached: {error.strerror or error}") from error
    with sock, sock.makefile("rb") as lines:
        options = "".join(f" {name}={value}" for name, value in (("since", since), ("slow", target.slow)) if value)
        sock.sendall(f"FORMAT json\r\nSUB {target.topics}{options}\r\n".encode())
        # The kernel finds a peer that is gone: over lines there is no sign of life.
        sock.settimeout(None)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for line in lines:
            if line.startswith(b"-ERR stopping"):
                return
            if line.startswith(b"-ERR "):
                raise RequestRefused(line[5:].decode("utf-8", "replace").strip().replace(" ", ": ", 1))
            if line.startswith(b"{"):
                yield json.loads(line)


def subscribe_websocket(target: Target, since: str | None) -> Iterator[Item]:
    """Hear by a WebSocket that speaks ``pushd.v1``."""
    with target.api.websocket(
        f"/ws/{quote_path(target.topics)}", {"since": since, "slow": target.slow}, "pushd.v1"
    ) as connection:
        for frame in connection:
            yield json.loads(frame)
        code, reason = connection.close_code, connection.close_reason
    if code == _CLOSE_ENDED:
        yield STREAM_ENDED
    elif code in _CLOSE_REFUSED:
        raise RequestRefused(f"closed with {code}: {reason}")


TRANSPORTS: Mapping[str, Callable[[Target, str | None], Iterator[Item]]] = {
    "stream": subscribe_stream,
    "sse": subscribe_sse,
    "mixed": subscribe_mixed,
    "websocket": subscribe_websocket,
    "longpoll": subscribe_longpoll,
    "tcp": subscribe_tcp,
}
CONNECTION_ERRORS = (OSError, HTTPException, ValueError, Unreachable, TemporarilyRefused)
"""What a way raises where its connection breaks."""
