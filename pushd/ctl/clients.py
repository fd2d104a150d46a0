"""Ways to hear the daemon: each gives the JSON messages and control objects that come after a cursor.

Each is a generator that ends when the daemon ends the stream, and raises where it breaks.
"""

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException
from typing import Any, NamedTuple

from pushd.ctl.api_client import Web, in_path
from pushd.ctl.errors import Later, NotReachable, Refused
from pushd.ctl.multipart_reader import read_parts

Heard = dict[str, Any]
"""A message has ``id``; a control object has ``type``."""
_SECONDS = 30.0
_POLL_SECONDS = 25
_ALL_ENDED, _NOT_ALLOWED = 4410, (1008, 4401, 4403)
"""Codes with which the daemon closes a WebSocket."""
ENDED: Heard = {"type": "ended"}
"""Is given in place of the end of a stream that has come to its end for good."""


class Place(NamedTuple):
    """Where and what to hear."""

    web: Web
    tcp: tuple[str, int]
    topics: str
    slow: str | None = None


def by_stream(place: Place, since: str | None) -> Iterator[Heard]:
    """Hear an endless body of JSON lines."""
    query = {"since": since, "slow": place.slow}
    response = place.web.open("GET", f"/stream/{in_path(place.topics)}", query)
    if response.status == 204:
        yield ENDED
        return
    for line in response:
        yield json.loads(line)


def by_sse(place: Place, since: str | None) -> Iterator[Heard]:
    """Hear server-sent events (WHATWG HTML, section 9.2) whose data is JSON."""
    query = {"since": since, "slow": place.slow, "format": "json"}
    response = place.web.open("GET", f"/sse/{in_path(place.topics)}", query)
    if response.status == 204:
        yield ENDED
        return
    data: list[bytes] = []
    for line in response:
        field, _, value = line.rstrip(b"\n").partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif not line.strip() and data:
            yield json.loads(b"\n".join(data))
            data = []


def by_mixed(place: Place, since: str | None) -> Iterator[Heard]:
    """Hear parts of a ``multipart/mixed``."""
    response = place.web.open("GET", f"/mixed/{in_path(place.topics)}", {"since": since, "slow": place.slow})
    if response.status == 204:
        yield ENDED
        return
    yield from read_parts(response)


def by_longpoll(place: Place, since: str | None) -> Iterator[Heard]:
    """Hear by one long poll after the other. Where a poll tells a gap, that comes before its messages."""
    path = f"/longpoll/{in_path(place.topics)}"
    while True:
        response = place.web.open("GET", path, {"since": since, "timeout": _POLL_SECONDS})
        if reason := response.headers.get("Pushd-Gap"):
            yield {"type": "gap", "topic": place.topics, "from": since, "to": None, "reason": reason}
        if response.status == 200:
            yield from json.loads(response.read())
        else:
            yield {"type": "ping"}
        if "Pushd-End" in response.headers:
            yield ENDED
            return
        since = response.headers.get("Pushd-Id") or response.headers.get("Last-Event-ID") or since


def by_tcp(place: Place, since: str | None) -> Iterator[Heard]:
    """Hear by the line protocol."""
    try:
        sock = socket.create_connection(place.tcp, _SECONDS)
    except OSError as error:
        host, port = place.tcp
        raise NotReachable(f"{host}:{port} can not be reached: {error.strerror or error}") from error
    with sock, sock.makefile("rb") as lines:
        options = "".join(f" {name}={value}" for name, value in (("since", since), ("slow", place.slow)) if value)
        sock.sendall(f"FORMAT json\r\nSUB {place.topics}{options}\r\n".encode())
        # The kernel finds a peer that is gone: over lines there is no sign of life.
        sock.settimeout(None)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for line in lines:
            if line.startswith(b"-ERR stopping"):
                return
            if line.startswith(b"-ERR "):
                raise Refused(line[5:].decode("utf-8", "replace").strip().replace(" ", ": ", 1))
            if line.startswith(b"{"):
                yield json.loads(line)


def by_websocket(place: Place, since: str | None) -> Iterator[Heard]:
    """Hear by a WebSocket that speaks ``pushd.v1``."""
    with place.web.websocket(f"/ws/{in_path(place.topics)}", {"since": since, "slow": place.slow}, "pushd.v1") as peer:
        for frame in peer:
            yield json.loads(frame)
        code, reason = peer.close_code, peer.close_reason
    if code == _ALL_ENDED:
        yield ENDED
    elif code in _NOT_ALLOWED:
        raise Refused(f"closed with {code}: {reason}")


WAYS: Mapping[str, Callable[[Place, str | None], Iterator[Heard]]] = {
    "stream": by_stream,
    "sse": by_sse,
    "mixed": by_mixed,
    "websocket": by_websocket,
    "longpoll": by_longpoll,
    "tcp": by_tcp,
}
BROKEN = (OSError, HTTPException, ValueError, NotReachable, Later)
"""What a way raises where its connection breaks."""
