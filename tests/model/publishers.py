"""Publishers: they publish, end and delete channels over each transport, and record every answer."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from tests.model.record import Publication, Record
from tests.soak.transports import Ports, connection

_CUT = (OSError, EOFError, TimeoutError, WebSocketException, asyncio.IncompleteReadError)
"""What happens to a client whose daemon is killed."""
_SECONDS = 12.0
"""The time of one attempt, longer than any timeout of the daemon."""
_NOT_STORED = frozenset({"storage", "overloaded", "no-room", "too-many-channels"})
"""Refusals after which nothing was stored."""
_MAYBE_STORED = frozenset({"unavailable", "outcome-unknown", "stopping"})
_NOT_CONNECTED = "not connected"
_ATTEMPTS = 4
_DOUBLES = 0.2
"""How often a publish with a key is sent twice at the same time."""
_REPEATS = 0.2
"""How often it is repeated although it was answered."""
_MAX_PAUSE = 0.02
_EPHEMERAL_SHARE = 0.15
_NO_ID = frozenset({"-", "None"})
"""The id in the receipt of an ephemeral message: over TCP, and in JSON."""
_BURST = 25
_LARGE = 40_000
"""Bytes of the largest messages. With some of them, a client that does not read has a queue soon."""

Answer = tuple[str | None, str]
"""The id, or None and the code of the refusal."""


class Node(Protocol):
    """A daemon."""

    name: str

    @property
    def ports(self) -> Ports | None:
        """Its ports; None while it is stopped."""


class Publisher:
    """Publishes with one request or connection at a time, as its random generator decides."""

    def __init__(
        self,
        name: str,
        record: Record,
        nodes: Sequence[Node],
        channels: Sequence[str],
        rng: random.Random,
        large_share: float,
    ) -> None:
        """`large_share` is the share of large messages, approximately."""
        self._name = name
        self._record = record
        self._nodes = nodes
        self._channels = channels
        self._rng = rng
        self._count = 0
        self._is_done = False
        self._large_weight = 100 * large_share
        self._ways: dict[str, Callable[[Ports, list[Publication]], Awaitable[list[Answer]]]] = {
            "POST": self._post,
            "batch": self._batch,
            "PUB": self._lines,
            "PUBJ": self._json_lines,
            "WebSocket": self._websocket,
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Publish until the event is set."""
        while not stop.is_set():
            if self._rng.random() < 0.01:
                await self._delete(self._rng.choice(self._channels))
            else:
                await self._publish_some()
            await asyncio.sleep(self._rng.random() * _MAX_PAUSE * (10 if self._rng.random() < 0.1 else 1))

    async def publish_last(self, channel: str) -> Publication:
        """Publish until a message is acknowledged; return it."""
        self._is_done = True
        for _ in range(200):
            publication = self._new(channel, can_end=False)
            await self._publish("POST", [publication])
            if publication.accepted is not None:
                return publication
            await asyncio.sleep(0.3)
        raise TimeoutError(f"nothing could be published to {channel} after the last fault")

    async def _publish_some(self) -> None:
        rng = self._rng
        way = rng.choice(list(self._ways))
        count = 1 if way == "POST" or rng.random() < 0.7 else rng.randint(2, _BURST)
        publications = [self._new(rng.choice(self._channels), can_end=way != "PUB") for _ in range(count)]
        if way == "PUB":
            for publication in publications:
                publication.ttl, publication.is_ephemeral = None, False
        is_kept = not any(publication.is_ephemeral for publication in publications)
        if way in ("POST", "batch") and is_kept and rng.random() < 0.25:
            for publication in publications:
                publication.key = f"key {publications[0].text}"
        await self._publish(way, publications)

    def _new(self, channel: str, *, can_end: bool) -> Publication:
        rng = self._rng
        self._count += 1
        publication = Publication(f"{self._name}.{self._count}", channel, self._record.tick(), self._padding())
        if can_end and rng.random() < 0.03:
            publication.ends = True
            publication.is_mark = rng.random() < 0.5
        elif can_end and rng.random() < 0.08:
            publication.ttl = round(rng.uniform(0.05, 0.6), 2)
        elif can_end and rng.random() < _EPHEMERAL_SHARE:
            publication.is_ephemeral = True
        return self._record.publish(publication)

    async def _publish(self, way: str, publications: list[Publication]) -> None:
        """Publish. With a key, repeat as long as the outcome is unknown, and sometimes although it is known."""
        for _ in range(_ATTEMPTS if publications[0].key else 1):
            is_double = publications[0].key is not None and self._rng.random() < _DOUBLES
            attempts = [self._attempt(way, publications) for _ in range(2 if is_double else 1)]
            is_known = all(await asyncio.gather(*attempts))
            if is_known and self._rng.random() >= _REPEATS:
                return
            await asyncio.sleep(0 if is_known else self._rng.random() * 0.5)

    async def _attempt(self, way: str, publications: list[Publication]) -> bool:
        """Publish once; return whether the outcome is known."""
        node = self._rng.choice(self._nodes)
        for publication in publications:
            sentence = f"{self._name} sends {publication.text} by {way} to {node.name}"
            publication.attempts.append(self._record.note(sentence, publication.channel))
        answers = await self._answers(self._ways[way], node.ports, publications)
        known = [self._settle(publication, *answer) for publication, answer in zip(publications, answers, strict=True)]
        return all(known)

    async def _answers(
        self,
        way: Callable[[Ports, list[Publication]], Awaitable[list[Answer]]],
        ports: Ports | None,
        publications: list[Publication],
    ) -> list[Answer]:
        if ports is None:
            return [(None, _NOT_CONNECTED)] * len(publications)
        try:
            async with asyncio.timeout(_SECONDS):
                return await way(ports, publications)
        except ConnectionRefusedError:
            return [(None, _NOT_CONNECTED)] * len(publications)
        except _CUT as error:
            return [(None, f"cut: {type(error).__name__}")] * len(publications)

    def _settle(self, publication: Publication, id: str | None, code: str) -> bool:
        """Record an answer; return whether the outcome is known."""
        record = self._record
        if id is not None and publication.is_ephemeral:
            if id not in _NO_ID:
                record.fault(f"{publication.text}, which is ephemeral, has the id {id}", publication.channel)
            record.pass_on(publication)
            return True
        if id is not None:
            record.accept(publication, id)
            return True
        is_known = code not in _MAYBE_STORED and not code.startswith("cut")
        record.refuse(publication, code, is_known=is_known)
        if is_known and code not in _NOT_STORED and code != _NOT_CONNECTED:
            record.fault(f"{publication.text} was refused: {code}", publication.channel)
        return is_known

    async def _delete(self, channel: str) -> None:
        ports = self._rng.choice(self._nodes).ports
        deletion = self._record.delete(channel)
        if ports is None:
            deletion.finished = deletion.started
            return
        try:
            async with asyncio.timeout(_SECONDS):
                status, _ = await _request(ports, "DELETE", f"/pub/{channel}", "", b"")
                if status in (200, 404):
                    deletion.finished = self._record.note(f"{channel} is deleted: {status}", channel)
        except ConnectionRefusedError:
            deletion.finished = deletion.started
        except _CUT:
            pass

    # Ways

    async def _post(self, ports: Ports, publications: list[Publication]) -> list[Answer]:
        (publication,) = publications
        query = [f"ttl={publication.ttl:g}"] if publication.ttl else []
        query += ["end=1"] if publication.ends else []
        query += ["keep=0"] if publication.is_ephemeral else []
        target = f"/pub/{publication.channel}?{'&'.join(query)}"
        body = b"" if publication.is_mark else publication.data.encode()
        headers = "Content-Type: text/plain; charset=utf-8\r\n" + _key_header(publication)
        status, answer = await _request(ports, "POST", target, headers, body)
        return [_receipt(json.loads(answer), status)]

    async def _batch(self, ports: Ports, publications: list[Publication]) -> list[Answer]:
        body = "\n".join(map(self._object, publications)).encode()
        headers = "Content-Type: application/x-ndjson\r\n" + _key_header(publications[0])
        status, answer = await _request(ports, "POST", "/pub", headers, body)
        if status != 200:
            return [_receipt(json.loads(answer), status)] * len(publications)
        return [_receipt(json.loads(line)) for line in answer.splitlines()]

    async def _lines(self, ports: Ports, publications: list[Publication]) -> list[Answer]:
        return await _send_lines(ports, [f"PUB {each.channel} {each.data}" for each in publications])

    async def _json_lines(self, ports: Ports, publications: list[Publication]) -> list[Answer]:
        return await _send_lines(ports, [f"PUBJ {self._object(each)}" for each in publications])

    async def _websocket(self, ports: Ports, publications: list[Publication]) -> list[Answer]:
        url = f"ws://127.0.0.1:{ports.http}/ws"
        answers: list[Answer] = []
        async with connect(url, subprotocols=[Subprotocol("pushd.v1")], compression=None, proxy=None) as socket:
            try:
                for publication in publications:
                    fields = json.loads(self._object(publication))
                    await socket.send(json.dumps({"publish": fields.pop("channel"), **fields}))
                for _ in publications:
                    answers.append(_receipt(json.loads(await socket.recv())))
            except _CUT as error:
                answers += [(None, f"cut: {type(error).__name__}")] * (len(publications) - len(answers))
            finally:
                socket.transport.abort()
        return answers

    def _padding(self) -> str:
        if self._is_done:  # the last messages must not evict each other
            return ""
        (size,) = self._rng.choices((20, 3000, _LARGE), (60, 28, self._large_weight))
        return "x" * self._rng.randrange(size)

    @staticmethod
    def _object(publication: Publication) -> str:
        fields: dict[str, Any] = {"channel": publication.channel, "data": publication.data}
        if publication.is_mark:
            fields["data"] = ""
        if publication.ttl:
            fields["ttl"] = publication.ttl
        if publication.ends:
            fields["end"] = True
        if publication.is_ephemeral:
            fields["keep"] = False
        return json.dumps(fields)


def _key_header(publication: Publication) -> str:
    return f"Idempotency-Key: {publication.key}\r\n" if publication.key else ""


def _receipt(answer: Any, status: int = 200) -> Answer:
    if "error" in answer:
        return None, str(answer["error"]["code"])
    return str(answer["id"]), str(status)


async def _request(ports: Ports, method: str, target: str, headers: str, body: bytes) -> tuple[int, bytes]:
    """Send a request on a connection of its own; return the status and the body."""
    async with connection(ports.http) as (reader, writer):
        head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{headers}"
        writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
        answer = await reader.read(-1)
    head_bytes, found, rest = answer.partition(b"\r\n\r\n")
    length = [line for line in head_bytes.lower().split(b"\r\n") if line.startswith(b"content-length: ")]
    if not found or not length or len(rest) < int(length[0].partition(b" ")[2]):
        raise ConnectionResetError("the answer is incomplete")
    return int(head_bytes[9:12]), rest


async def _send_lines(ports: Ports, commands: Sequence[str]) -> list[Answer]:
    answers: list[Answer] = []
    async with connection(ports.tcp) as (reader, writer):
        await reader.readline()
        try:
            writer.write("".join(f"{command}\r\n" for command in commands).encode())
            while len(answers) < len(commands):
                line = await reader.readuntil(b"\n")
                words = line.decode().split()
                answers.append((words[1], "") if words[0] == "+OK" else (None, words[1]))
        except _CUT as error:
            answers += [(None, f"cut: {type(error).__name__}")] * (len(commands) - len(answers))
    return answers
