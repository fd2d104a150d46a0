"""One client per transport: each yields the JSON messages and control objects that follow a cursor.

A client is a generator. It returns when the daemon ends the stream, and raises one of `CONNECTION_ERRORS` when the
connection fails, or `RequestRefused`.
"""

import json
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, NamedTuple

from pushd.ctl.api_client import ApiClient, quote_path
from pushd.ctl.errors import CredentialRefused, RequestRefused, TemporarilyRefused, Unreachable
from pushd.ctl.multipart_reader import read_multipart

if TYPE_CHECKING:
    from email.message import Message

    from websockets.datastructures import Headers

Item = dict[str, Any]
"""A message (it has ``channel`` and no ``type``, and ``id`` unless it is ephemeral), a control object (it has ``type``:
begin, gap, end, ping, expiring, expired), or a refusal (it has ``error``), as in docs/protocol.md.
"""
_CONNECT_SECONDS = 30.0
_POLL_SECONDS = 25
_CLOSE_ENDED, _CLOSE_TOKEN_REFUSED, _CLOSE_FORBIDDEN = 4410, 4401, 4403
"""Close codes of the daemon's WebSockets: all channels have ended; the token or the subscription was refused. 1008 is
not among them: to a client that sends no commands it means that an operator closed the connection, so it may
reconnect.
"""
CREDENTIAL_CODES = frozenset({"token-missing", "token-invalid", "token-expired", "token-revoked"})
"""The codes of refusals over TCP that have status 401 over HTTP."""
TEMPORARY_CODES = frozenset(
    {
        *("kicked", "no-responders", "no-room", "outcome-unknown", "overloaded", "slow", "stopping", "unavailable"),
        *(
            "rate-limited",
            "too-many-channels",
            "too-many-connections",
            "too-many-members",
            "too-many-requests",
            "too-many-revocations",
            "too-many-subscriptions",
        ),
    }
)
"""The codes of refusals over TCP after which a retry may succeed: those that have status 429 or 503 over HTTP."""
_SUBSCRIBED = re.compile(rb"\+OK SUB \S+ cursor=(\S+)")
"""The reply to SUB."""
_EXPIRING = re.compile(rb"EXPIRING ([0-9]{1,11})\s")
"""The line that precedes the expiry of the token."""
STREAM_ENDED: Item = {"type": "ended"}
"""Yielded last by a client when all channels have ended, so that reconnecting is pointless."""


class Target(NamedTuple):
    """The daemon and the topics to subscribe to."""

    api: ApiClient
    tcp: tuple[str, int]
    topics: str
    slow: str | None = None
    responder: bool = False
    """Whether to count as a responder, which ``/stream`` alone supports here."""


def subscribe_stream(target: Target, since: str | None) -> Iterator[Item]:
    """Subscribe by ``/stream``: newline-delimited JSON."""
    query = {"since": since, "slow": target.slow, "responder": 1 if target.responder else None}
    response = target.api.open("GET", f"/stream/{quote_path(target.topics)}", query)
    if response.status == 204:
        yield STREAM_ENDED
        return
    yield from _begin(response.headers)
    for line in response:
        yield json.loads(line)


def subscribe_sse(target: Target, since: str | None) -> Iterator[Item]:
    """Subscribe by ``/sse``: server-sent events (WHATWG HTML, section 9.2) whose data is JSON."""
    query = {"since": since, "slow": target.slow, "format": "json", "begin": 0}
    response = target.api.open("GET", f"/sse/{quote_path(target.topics)}", query)
    if response.status == 204:
        yield STREAM_ENDED
        return
    yield from _begin(response.headers)
    data: list[bytes] = []
    for line in response:
        field, _, value = line.rstrip(b"\n").partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif not line.strip() and data:
            yield json.loads(b"\n".join(data))
            data = []


def subscribe_mixed(target: Target, since: str | None) -> Iterator[Item]:
    """Subscribe by ``/mixed``: the parts of a ``multipart/mixed`` body."""
    response = target.api.open("GET", f"/mixed/{quote_path(target.topics)}", {"since": since, "slow": target.slow})
    if response.status == 204:
        yield STREAM_ENDED
        return
    yield from _begin(response.headers)
    yield from read_multipart(response)


def subscribe_longpoll(target: Target, since: str | None) -> Iterator[Item]:
    """Subscribe by ``/longpoll``: one long poll after the other. A gap is yielded before the messages of its poll.

    The first poll does not wait: if the connection is lost while a poll waits, the cursor must be an id already.
    """
    path, seconds = f"/longpoll/{quote_path(target.topics)}", 0
    while True:
        response = target.api.open("GET", path, {"since": since, "timeout": seconds})
        seconds = _POLL_SECONDS
        if reason := response.headers.get("Pushd-Gap"):
            yield {"type": "gap", "topic": target.topics, "from": since, "to": None, "reason": reason}
        if response.status == 200:
            yield from json.loads(response.read())
        else:
            yield {"type": "ping"}
        if "Pushd-End" in response.headers:
            yield STREAM_ENDED
            return
        since = response.headers.get("Pushd-Cursor") or since
        yield {"type": "begin", "cursor": since}


def subscribe_tcp(target: Target, since: str | None) -> Iterator[Item]:
    """Subscribe by the TCP line protocol."""
    token = target.api.credential.token()
    try:
        sock = socket.create_connection(target.tcp, _CONNECT_SECONDS)
    except OSError as error:
        host, port = target.tcp
        raise Unreachable(f"{host}:{port} cannot be reached: {error.strerror or error}") from error
    with sock, sock.makefile("rb") as lines:
        options = "".join(f" {name}={value}" for name, value in (("since", since), ("slow", target.slow)) if value)
        sock.sendall(f"{auth_line(token)}FORMAT json\r\nSUB {target.topics}{options}\r\n".encode())
        # The line protocol has no keepalive, so TCP keepalive detects a lost peer.
        sock.settimeout(None)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for line in lines:
            if line.startswith(b"-ERR "):
                raise _line_refusal(line)
            if cursor := _SUBSCRIBED.match(line):
                yield {"type": "begin", "cursor": cursor[1].decode("ascii")}
            elif expiring := _EXPIRING.match(line):
                yield {"type": "expiring", "at": int(expiring[1])}
            elif line.startswith(b"{"):
                yield json.loads(line)


def subscribe_websocket(target: Target, since: str | None) -> Iterator[Item]:
    """Subscribe by a WebSocket with the subprotocol ``pushd.v1``."""
    from websockets.exceptions import ConnectionClosedError

    with target.api.websocket(
        f"/ws/{quote_path(target.topics)}", {"since": since, "slow": target.slow}, "pushd.v1"
    ) as connection:
        if connection.response is not None:
            yield from _begin(connection.response.headers)
        try:
            for frame in connection:
                yield json.loads(frame)
        except ConnectionClosedError:
            pass  # the close code is evaluated below
        code, reason = connection.close_code, connection.close_reason
    if code == _CLOSE_ENDED:
        yield STREAM_ENDED
    elif code in (_CLOSE_TOKEN_REFUSED, _CLOSE_FORBIDDEN):
        kind = CredentialRefused if code == _CLOSE_TOKEN_REFUSED else RequestRefused
        raise kind(f"WebSocket closed with {code}: {reason}")


def auth_line(token: str | None) -> str:
    """Return the TCP command that authenticates the connection; empty without a token."""
    return "" if token is None else f"AUTH {token}\r\n"


def _line_refusal(line: bytes) -> RequestRefused:
    """Return the error for ``-ERR CODE SENTENCE``."""
    code, _, sentence = line[5:].decode("utf-8", "replace").strip().partition(" ")
    refused = CredentialRefused if code in CREDENTIAL_CODES else RequestRefused
    kind = TemporarilyRefused if code in TEMPORARY_CODES else refused
    return kind(f"{code}: {sentence}")


def _begin(headers: "Message | Headers") -> Iterator[Item]:
    """Yield the start cursor, from which a client resumes that has received nothing else."""
    if cursor := headers.get("Pushd-Cursor"):
        yield {"type": "begin", "cursor": cursor}


TRANSPORTS: Mapping[str, Callable[[Target, str | None], Iterator[Item]]] = {
    "stream": subscribe_stream,
    "sse": subscribe_sse,
    "mixed": subscribe_mixed,
    "websocket": subscribe_websocket,
    "longpoll": subscribe_longpoll,
    "tcp": subscribe_tcp,
}
CONNECTION_ERRORS = (OSError, HTTPException, ValueError, Unreachable, TemporarilyRefused)
"""Exceptions of a client after which reconnecting may help."""
