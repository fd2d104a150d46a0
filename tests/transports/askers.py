"""Clients that send requests, and the ways to send a reply."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, NamedTuple

from twisted.internet.defer import Deferred

from tests.transports.client import data_of
from tests.transports.daemon import RunningDaemon
from tests.transports.http_client import HttpClient, encode_request
from tests.transports.line_client import TextLines
from tests.transports.websocket_client import JsonWebSocket


class Outcome(NamedTuple):
    """What an asker has received: a reply, or the code of a refusal."""

    data: bytes | None
    code: str | None = None
    content_type: str | None = None
    """None where the transport does not show it."""
    status: int | None = None
    """The status of an answer by HTTP."""


class Asker:
    """A client that sends requests, each of which is answered by an `Outcome`."""

    label: ClassVar[str]
    has_timeout: ClassVar[bool] = True
    """Whether it can choose the time to wait."""

    def __init__(self, daemon: RunningDaemon, headers: Mapping[str, str] | None = None) -> None:
        self.daemon = daemon
        self.headers = dict(headers or {})

    async def open(self) -> None:
        """Connect, if it has one connection for all requests."""

    def ask(self, channel: str, data: str, timeout: float | None = None) -> "Deferred[Outcome]":
        """Send a request."""
        raise NotImplementedError

    def abort(self) -> None:
        """Break its connections."""
        raise NotImplementedError


class HttpAsker(Asker):
    """`POST /request/CH`."""

    label = "http"

    async def open(self) -> None:
        """See `Asker`."""
        self._clients: list[HttpClient] = []

    def ask(self, channel: str, data: str, timeout: float | None = None) -> "Deferred[Outcome]":
        """See `Asker`."""
        query = "" if timeout is None else f"?timeout={timeout:g}"
        request = encode_request("POST", f"/request/{channel}{query}", data.encode(), self.headers)
        client: HttpClient = self.daemon.connect("http", HttpClient(request))
        self._clients.append(client)
        return client.answer.addCallback(_outcome_of_answer)

    def abort(self) -> None:
        """See `Asker`."""
        for client in self._clients:
            client.answer.addErrback(lambda _: None)
            client.transport.abortConnection()


class WebSocketAsker(Asker):
    """`{"request":CH}`; replies are found by their ``ref``."""

    label = "pushd.v1"

    async def open(self) -> None:
        """See `Asker`."""
        self._waiting: dict[int, Deferred[Outcome]] = {}
        self.client = _Refs(self.daemon, self._waiting)
        await self.client.open("/ws", self.headers)

    def ask(self, channel: str, data: str, timeout: float | None = None) -> "Deferred[Outcome]":
        """See `Asker`."""
        ref = len(self._waiting) + 1
        answer = self._waiting[ref] = Deferred()
        command = {"request": channel, "data": data, "ref": ref} | ({} if timeout is None else {"timeout": timeout})
        self.client.protocol.sendMessage(json.dumps(command).encode())
        return answer

    def abort(self) -> None:
        """See `Asker`."""
        self.client.abort()


class _Refs(JsonWebSocket):
    def __init__(self, daemon: RunningDaemon, waiting: dict[int, "Deferred[Outcome]"]) -> None:
        super().__init__(daemon)
        self._waiting = waiting

    def frame(self, payload: bytes, is_binary: bool) -> None:
        decoded = json.loads(payload)
        waiting = self._waiting.get(decoded.get("ref"))
        if waiting is None:
            super().frame(payload, is_binary)
        elif "error" in decoded:
            waiting.callback(Outcome(None, decoded["error"]["code"]))
        else:
            waiting.callback(Outcome(data_of(decoded), None, decoded["content_type"]))


class LineAsker(Asker):
    """`REQ CH TEXT`; replies are found by the number of the command."""

    label = "tcp"
    has_timeout = False

    async def open(self) -> None:
        """See `Asker`."""
        self._waiting: dict[int, Deferred[Outcome]] = {}
        self.client = _Numbers(self.daemon, self._waiting)
        self.client.open()

    def ask(self, channel: str, data: str, timeout: float | None = None) -> "Deferred[Outcome]":
        """See `Asker`."""
        assert timeout is None
        answer = self._waiting[len(self._waiting) + 1] = Deferred()
        self.client.protocol.transport.write(f"REQ {channel} {data}\r\n".encode())
        return answer

    def abort(self) -> None:
        """See `Asker`."""
        self.client.abort()


class _Numbers(TextLines):
    def __init__(self, daemon: RunningDaemon, waiting: dict[int, "Deferred[Outcome]"]) -> None:
        super().__init__(daemon)
        self._waiting = waiting

    def line(self, line: bytes) -> None:
        words = line.rstrip(b"\r").split(b" ", 4)
        if words[0] == b"REP":
            self._waiting[int(words[1])].callback(Outcome(b" ".join(words[2:])))
        elif words[0] == b"-ERR" and words[2] == b"request":
            self._waiting[int(words[3].rstrip(b":"))].callback(Outcome(None, words[1].decode()))
        else:
            super().line(line)


ASKERS: tuple[type[Asker], ...] = (HttpAsker, WebSocketAsker, LineAsker)


def _outcome_of_answer(answer: Any) -> Outcome:
    if answer.status == 200:
        return Outcome(answer.body, None, answer.headers["content-type"], 200)
    return Outcome(None, answer.json["error"]["code"], None, answer.status)


Reply = Callable[[RunningDaemon, str, str, Mapping[str, str]], Awaitable[str | None]]
"""Publishes a text to a channel with some headers; returns the code of the refusal, or None if it was accepted."""


async def reply_by_http(daemon: RunningDaemon, channel: str, text: str, headers: Mapping[str, str]) -> str | None:
    """`POST /pub/CH`."""
    answer = await daemon.request("POST", f"/pub/{channel}", text.encode(), headers)
    assert answer.status >= 400 or answer.json == {"id": None, "channel": channel, "subscribers": 1}
    return str(answer.json["error"]["code"]) if answer.status >= 400 else None


async def reply_by_batch(daemon: RunningDaemon, channel: str, text: str, headers: Mapping[str, str]) -> str | None:
    """A line of `POST /pub`."""
    line = json.dumps({"channel": channel, "data": text}).encode()
    kind = {"Content-Type": "application/x-ndjson"}
    receipt = json.loads((await daemon.request("POST", "/pub", line, kind | dict(headers))).body)
    return str(receipt["error"]["code"]) if "error" in receipt else None


async def reply_by_websocket(daemon: RunningDaemon, channel: str, text: str, headers: Mapping[str, str]) -> str | None:
    """`{"publish":CH}`."""
    client = JsonWebSocket(daemon)
    await client.open("/ws")
    token = headers.get("Authorization", "").removeprefix("Bearer ")
    receipt = await client.ask(auth=token) if token else {}
    if "error" not in receipt:
        receipt = await client.ask(publish=channel, data=text)
    client.disconnect()
    return str(receipt["error"]["code"]) if "error" in receipt else None


async def _reply_by_line(daemon: RunningDaemon, line: str, headers: Mapping[str, str]) -> str | None:
    client = TextLines(daemon)
    client.open()
    token = headers.get("Authorization", "").removeprefix("Bearer ")
    answer = await client.send(f"AUTH {token}") if token else ""
    if not answer.startswith("-ERR "):
        answer = await client.send(line)
    client.disconnect()
    assert answer.startswith("-ERR ") or answer == "+OK - 1"
    return answer.split()[1] if answer.startswith("-ERR ") else None


async def reply_by_pub(daemon: RunningDaemon, channel: str, text: str, headers: Mapping[str, str]) -> str | None:
    """`PUB CH TEXT`."""
    return await _reply_by_line(daemon, f"PUB {channel} {text}", headers)


async def reply_by_pubj(daemon: RunningDaemon, channel: str, text: str, headers: Mapping[str, str]) -> str | None:
    """`PUBJ {"channel":CH}`."""
    return await _reply_by_line(daemon, "PUBJ " + json.dumps({"channel": channel, "data": text}), headers)


REPLIES: tuple[Reply, ...] = (reply_by_http, reply_by_batch, reply_by_websocket, reply_by_pub, reply_by_pubj)
