"""Two-way peers of an `InMemoryServer`, over the subprotocol pushd.v1 and over TCP lines alike."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from twisted.internet.defer import Deferred
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, Protocol

from pushd.auth.authenticator import Authenticator
from pushd.auth.token_checks import Verdict
from pushd.core.errors import TokenInvalid
from pushd.core.grant import NOTHING, Grant
from pushd.core.identity import Identity
from tests.transports.in_memory_server import HANDSHAKE, InMemoryServer, ServerTransport, request


class Tokens:
    """A verifier whose tokens are ``ISSUER:SUBJECT:GRANT``, with the grant by name. It can be made to wait."""

    def __init__(self, grants: Mapping[str, Mapping[str, object]]) -> None:
        self._grants = grants
        self.fetching: Deferred[None] | None = None
        """The keys are fetched until then."""

    async def verify(self, token: str) -> Identity | None:
        """See `Verifier`."""
        if self.fetching is not None:
            await self.fetching
        issuer, _, rest = token.partition(":")
        subject, _, name = rest.partition(":")
        if name not in self._grants:
            raise TokenInvalid("signature of the token is not valid")
        return Identity(subject, Grant.parse(self._grants[name], subject, where="test"), issuer)

    async def examine(self, token: str) -> Verdict | None:
        """See `Verifier`."""
        return Verdict(await self.verify(token))


class Event(NamedTuple):
    """What a peer has received: ``ok``, ``error``, ``message``, ``close``; and the code, or the data."""

    kind: str
    detail: str = ""
    text: str = ""


class InMemoryPeer:
    """A two-way peer. `sent` joins all that it has received."""

    label: ClassVar[str]
    is_http: ClassVar[bool]

    def __init__(self, server: InMemoryServer) -> None:
        self.server = server
        self.transport: ServerTransport = server.connect(is_http=self.is_http)
        self.sent = b""

    def send(self, *commands: Mapping[str, str]) -> None:
        """Send commands in one segment."""
        self.receive(b"".join([self.encode(command) for command in commands]))

    def receive(self, data: bytes) -> None:
        """Let the server receive bytes."""
        protocol: Any = self.transport.protocol
        protocol.dataReceived(data)

    def ask(self, *commands: Mapping[str, str]) -> list[Event]:
        """Send commands, and return what was received until now."""
        self.send(*commands)
        return self.events()

    def events(self) -> list[Event]:
        """Return what was received since the last call."""
        self.server.clock.advance(0)
        data = self.transport.value()
        self.transport.clear()
        self.sent += data
        return self.decode(data)

    @property
    def is_closing(self) -> bool:
        """Whether the server closes the connection, or has aborted it."""
        return bool(self.transport.disconnecting or self.transport.disconnected)

    def show_life(self) -> None:
        """Answer pings, if the peer has to."""

    def lose(self) -> None:
        """Lose the connection."""
        self.server.lose(self.transport)

    def encode(self, command: Mapping[str, str]) -> bytes:
        """Encode a command, such as ``{"subscribe":"a"}``."""
        raise NotImplementedError

    def decode(self, data: bytes) -> list[Event]:
        """Decode what was received."""
        raise NotImplementedError


class LinePeer(InMemoryPeer):
    """A peer over TCP lines."""

    label = "tcp"
    is_http = False
    _VERBS: ClassVar = {"subscribe": "SUB", "unsubscribe": "UNSUB", "publish": "PUB", "auth": "AUTH"}

    def __init__(self, server: InMemoryServer) -> None:
        super().__init__(server)
        self.events()

    def encode(self, command: Mapping[str, str]) -> bytes:
        """See `InMemoryPeer`."""
        (verb, value), *rest = command.items()
        words = [value for name, value in rest if name == "data"] + [f"{n}={v}" for n, v in rest if n != "data"]
        return " ".join((self._VERBS.get(verb, verb), value, *words)).encode() + b"\n"

    def decode(self, data: bytes) -> list[Event]:
        """See `InMemoryPeer`."""
        events = []
        for line in data.decode().splitlines():
            verb, _, rest = line.partition(" ")
            if verb == "-ERR":
                events.append(Event("error", *rest.split(" ", 1)))
            elif verb == "MSG":
                events.append(Event("message", rest.split(" ", 2)[2]))
            elif verb != "INFO" and (verb in ("+OK", "PONG")):
                events.append(Event("ok"))
        return [*events, Event("close", "")] if self.is_closing else events


class WebSocketPeer(InMemoryPeer):
    """A peer over the subprotocol pushd.v1."""

    label = "websocket"
    is_http = True

    def __init__(self, server: InMemoryServer, path: str = "/ws", **headers: str) -> None:
        super().__init__(server)
        headers = {"Sec_WebSocket_Protocol": "pushd.v1"} | HANDSHAKE | headers
        self.receive(request(path, **{name: value for name, value in headers.items() if value}))
        self._frames = Protocol(CLIENT)
        self._answer_head()

    def _answer_head(self) -> None:
        data = self.transport.value()
        self.sent += data
        head, _, rest = data.partition(b"\r\n\r\n")
        self.head = head.decode()
        self.status = int(head.split(b" ")[1]) if head else None
        self.transport.clear()
        if self.status == 101:
            self.transport.write(rest)

    def opened(self) -> None:
        """Read the head of the answer, when it comes later."""
        self._answer_head()

    def encode(self, command: Mapping[str, str]) -> bytes:
        """See `InMemoryPeer`."""
        return Frame(Opcode.TEXT, json.dumps(command).encode()).serialize(mask=True)

    def show_life(self) -> None:
        """See `InMemoryPeer`."""
        self.receive(Frame(Opcode.PONG, b"").serialize(mask=True))

    def answer_close(self) -> None:
        """Answer the close frame."""
        self.receive(Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True))

    def decode(self, data: bytes) -> list[Event]:
        """See `InMemoryPeer`."""
        self._frames.receive_data(data)
        events = []
        for frame in self._frames.events_received():
            assert isinstance(frame, Frame)
            if frame.opcode is Opcode.CLOSE:
                code, reason = int.from_bytes(frame.data[:2], "big"), bytes(frame.data[2:]).decode()
                events.append(Event("close", str(code), reason))
            elif frame.opcode is Opcode.TEXT:
                events.append(_event(json.loads(bytes(frame.data))))
        return events


def _event(decoded: dict[str, Any]) -> Event:
    if "error" in decoded:
        return Event("error", decoded["error"]["code"], decoded["error"]["message"])
    return Event("ok") if "ok" in decoded else Event("message", str(decoded["data"]))


def pass_time(seconds: int, *peers: InMemoryPeer) -> None:
    """Advance the clock, while the peers are alive."""
    for _ in range(seconds):
        peers[0].server.clock.advance(1)
        for peer in peers:
            peer.show_life()


def server_with(
    tokens: Tokens, anonymous: Mapping[str, object] | None = None, queue_messages: int = 2
) -> InMemoryServer:
    """Return a server in which tokens are needed.

    :param anonymous: the grant of peers without one; None: nothing.
    """
    grant = NOTHING if anonymous is None else Grant.parse(anonymous, None, where="test")
    return InMemoryServer(queue_messages, Authenticator((tokens,), lambda: 0.0, grant))
