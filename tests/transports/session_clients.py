"""Clients of Pushlet and comet4j: sessions that poll in a loop, or request one stream after another.

Gaps are messages of a channel of their own. The end of a channel is not shown.
"""

import base64
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlencode, urljoin

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import ConnectionDone

from tests.transports.client import Client, Closed, Received, Refused, data_of
from tests.transports.http_client import Answer, HttpClient, encode_request

_SCRIPT = re.compile(r"<script>parent\.push\(([^<]*)\)</script>\n")
_NEXT_PAGE = re.compile(r'<script>again\("([^"<]*)",[0-9]+\)</script>\n')

_REASON = re.compile(r'"p_reason"[,:]"([a-z-]+):')


class SessionClient(Client, ABC):
    """A session. It goes on until its connection is cut, or it is refused, at the daemon that it has then."""

    reports_gaps = False
    has_events = False
    refused: Refused | None = None
    """Why it does not go on."""

    @abstractmethod
    async def _ask_again(self) -> None:
        """Send the request that reads, and wait for the end of its answer."""

    def start(self) -> None:
        """Read in a loop."""
        ensureDeferred(self._go_on())

    async def _go_on(self) -> None:
        try:
            while True:
                await self._ask_again()
        except ConnectionRefusedError:  # the daemon has stopped, after the end of an answer
            self.deliver_result(Closed(None, True))
        except Refused as refused:
            self.refused = refused
            self.deliver_result(Closed(None, True))
        except Exception:
            self.deliver_result(Closed(None, False))

    async def ask(self, path: str, **query: object) -> Answer:
        """Send a request; return the answer.

        :raises Refused: when it is refused.
        """
        given = {name: value for name, value in query.items() if value is not None}
        answer = await self._open(f"{path}?{urlencode(given)}" if given else path).answer
        self.check(answer)
        return answer

    def check(self, answer: Answer) -> None:
        """Raise `Refused` for an answer that refuses."""
        if answer.status != 200:
            raise Refused(answer.json["error"]["code"], answer.status)

    def _open(self, path: str, take: Any = None) -> HttpClient:
        client: HttpClient = self.daemon.connect(
            "http", HttpClient(encode_request("GET", path), take), small=self.small
        )
        self.protocol = client
        return client

    async def read_stream(self, path: str) -> Deferred[Answer]:
        """Open a stream; return its end.

        :raises Refused: when it is refused.
        """
        self._rest = ""
        stream = self._open(path, lambda data: self.feed(data.decode()))
        head = await stream.head
        if head.status != 200:
            self.check(await stream.answer)
        return stream.answer

    def feed(self, text: str) -> None:
        """Parse a piece of a stream."""
        raise NotImplementedError

    def report(self, reason: str) -> None:
        """Take a gap, of which the first counts."""
        self.gap = self.gap or reason


class PushletPull(SessionClient):
    """Pushlet in mode pull and format json; each request has the address that the answer before has named."""

    label = "pushlet"
    transport_name = "pushlet"
    _format = "json"
    _id = ""
    _next = ""

    async def subscribe(self, topics: str, since: str | None = None, slow: str | None = None) -> None:
        """See `Client`."""
        answer = await self._send("join")
        (ack,) = self.events(answer.body.decode())
        self._id = ack["p_id"]
        subjects = ",".join("/" if topic == "**" else f"/{topic}" for topic in topics.split(","))
        answer = await self._send("subscribe", p_subject=subjects)
        if since is None:
            self.begin_at(answer.headers["pushd-cursor"])
        await self.listen(since)
        self.start()

    async def listen(self, since: str | None) -> None:
        """Read for the first time."""
        self._take(await self._send("listen", p_mode="pull", p_since=since))

    async def _ask_again(self) -> None:
        self._take(await self.ask(self._next))

    async def _send(self, event: str, **query: object) -> Answer:
        return await self.ask("/pushlet.srv", p_event=event, p_format=self._format, p_id=self._id or None, **query)

    def check(self, answer: Answer) -> None:
        """See `SessionClient`; a nack is an answer, too."""
        if answer.status == 400:  # in the format js, if there is no session
            raise Refused(_REASON.findall(answer.body.decode())[0], 400)
        super().check(answer)
        for event in self.events(answer.body.decode()):
            if event["p_event"] == "nack":
                raise Refused(event["p_reason"].partition(":")[0])

    def _take(self, answer: Answer) -> None:
        for event in self.events(answer.body.decode()):
            self.take_event(event)
        self.last_id = answer.headers["pushd-cursor"]

    @classmethod
    def topics_of(cls, channel: str) -> list[str]:
        """A subject matches by its beginning."""
        return [channel, f"{channel}/**"]

    def events(self, text: str) -> Iterator[dict[str, str]]:
        """Parse an answer."""
        yield from json.loads(text)

    def take_event(self, event: dict[str, str]) -> None:
        """Take an event."""
        match event["p_event"]:
            case "data" if event["p_subject"] == "/pushd/gap":
                self.report(event["reason"])
            case "data":
                self.deliver_result(_message_of(event))
            case "refresh":
                self._next = event["p_url"]
            case "hb":
                self.deliver_result(None)
            case "abort" | "nack":
                self.refused = Refused(event["p_reason"].partition(":")[0])


class PushletStream(PushletPull):
    """Pushlet in mode stream and format js: pages with scripts, the last of which loads the next page."""

    label = "pushlet-stream"
    transport_name = "pushlet-stream"
    _format = "js"

    async def listen(self, since: str | None) -> None:
        """See `PushletPull`."""
        query = {"p_event": "listen", "p_mode": "stream", "p_format": "js", "p_id": self._id}
        await self._read_page(f"/pushlet.srv?{urlencode(query | ({'p_since': since} if since else {}))}")
        if since is not None:
            self.begin_at((await self.protocol.head).headers["pushd-cursor"])

    async def _ask_again(self) -> None:
        self._next = ""
        await self._end_of_page()
        await self._read_page(urljoin("/pushlet.srv", self._next))

    async def _read_page(self, path: str) -> None:
        self._end = await self.read_stream(path)
        if "pushd-cursor" not in (await self.protocol.head).headers:  # it is no stream
            await self._end_of_page()

    async def _end_of_page(self) -> None:
        await self._end
        if self.refused is not None:
            raise self.refused

    def feed(self, text: str) -> None:
        """See `SessionClient`."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if found := _NEXT_PAGE.fullmatch(f"{line}\n"):
                self._next = found[1]
            for event in self.events(f"{line}\n"):
                self.take_event(event)

    def events(self, text: str) -> Iterator[dict[str, str]]:
        """See `PushletPull`."""
        for script in _SCRIPT.findall(text):
            words = json.loads(f"[{script}]")
            yield dict(zip(words[::2], words[1::2], strict=True))


def _message_of(event: dict[str, str]) -> Received:
    """Read an event with data; fields are an object with texts."""
    fields = {name: value for name, value in event.items() if not name.startswith("p_")}
    if fields.keys() == {"data_base64"}:
        data = base64.b64decode(fields["data_base64"], validate=True)
    else:
        data = (fields["data"] if fields.keys() == {"data"} else json.dumps(fields)).encode()
    return Received(event.get("p_pushd_id"), event["p_subject"].removeprefix("/"), data, None)


class Comet4jPoll(SessionClient):
    """comet4j in the work style lpool: one message for each request."""

    label = "comet4j"
    transport_name = "comet4j"
    style = "lpool"

    async def subscribe(self, topics: str, since: str | None = None, slow: str | None = None) -> None:
        """See `Client`."""
        answer = await self.ask("/comet4j", cmd="conn", channels=topics, ws=self.style, since=since)
        self.begin_at(answer.headers["pushd-cursor"])
        self._revival = f"/comet4j?cmd=revival&cid={_decoded(answer.body.decode())['data']['cId']}"
        await self.listen()
        self.start()

    async def listen(self) -> None:
        """Read for the first time."""

    async def _ask_again(self) -> None:
        answer = await self.ask(self._revival)
        self.take_message(_decoded(answer.body.decode()))
        self.last_id = answer.headers.get("pushd-cursor", self.last_id)

    def take_message(self, decoded: Any) -> None:
        """Take a message."""
        channel, data = decoded["channel"], decoded["data"]
        if channel in ("c4j", "pushd/gap"):
            if data["type"] == "gap":
                self.report(data["reason"])
            return
        if isinstance(data, dict) and data.keys() == {"data_base64"}:
            received = base64.b64decode(data["data_base64"], validate=True)
        else:
            received = data_of({"data": data})
        self.deliver_result(Received(decoded.get("id"), channel, received, None))


class Comet4jStream(Comet4jPoll):
    """comet4j in the work style stream. Like its script, it closes a stream that has ended."""

    label = "comet4j-stream"
    transport_name = "comet4j-stream"
    style = "stream"

    async def listen(self) -> None:
        """See `Comet4jPoll`."""
        self._has_ended = False
        self._end = await self.read_stream(self._revival)

    async def _ask_again(self) -> None:
        try:
            await self._end
        except ConnectionDone:
            if not self._has_ended:
                raise
        await self.listen()

    def take_message(self, decoded: Any) -> None:
        """See `Comet4jPoll`."""
        super().take_message(decoded)
        if decoded["channel"] == "c4j":
            self._has_ended = True
            self.protocol.transport.loseConnection()

    def feed(self, text: str) -> None:
        """See `SessionClient`."""
        *frames, self._rest = (self._rest + text).split(">")
        for frame in frames:
            self.take_message(_decoded(f"{frame}>"))


def _decoded(frame: str) -> Any:
    assert (frame[0], frame[-1], frame.count("<"), frame.count(">")) == ("<", ">", 1, 1)
    return json.loads(unquote(frame[1:-1], errors="strict"))


SESSIONS: tuple[type[Client], ...] = (PushletPull, PushletStream, Comet4jPoll, Comet4jStream)
"""The clients of Pushlet and comet4j."""
SESSION_STREAMS: tuple[type[Client], ...] = (PushletStream, Comet4jStream)
"""Those that stay connected."""
