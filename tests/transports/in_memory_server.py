"""All transports on a real hub with a memory backend, without sockets. Only the clock of the test moves the time."""

import ipaddress
from collections.abc import Sequence
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.web.resource import Resource

from pushd.api.publish import PublishResource
from pushd.api.request import RequestResource
from pushd.auth.authenticator import NO_AUTHENTICATION, Authenticator
from pushd.backends.memory import MemoryBackend
from pushd.core.cursor import MessageId, Since
from pushd.core.history import Bounds
from pushd.core.message import draft
from pushd.core.outbox import QueueLimits
from pushd.core.peer import DAEMON
from pushd.core.replay import Page, StartPosition
from pushd.dialects.comet4j.dialect import Comet4j
from pushd.dialects.interface import DialectContext
from pushd.dialects.pushlet.dialect import Pushlet
from pushd.dialects.sessions import Limits
from pushd.http.access_log import AccessLog
from pushd.http.limits import HttpLimits
from pushd.http.resource import HttpContext
from pushd.http.site import PushSite
from pushd.hub.hub import Hub
from pushd.metrics import Counters
from pushd.net.admission import Admission
from pushd.net.keepalive import Deadlines, Ticks, Wheel
from pushd.transports.credential_deadlines import CredentialDeadlines
from pushd.transports.held_requests import HeldRequests
from pushd.transports.interface import Transport
from pushd.transports.multipart import MixedResource, ReplaceResource
from pushd.transports.ndjson import NdjsonResource
from pushd.transports.negotiation import NegotiatingResource
from pushd.transports.polls import LongPollResource
from pushd.transports.pull import PullResource
from pushd.transports.sse import SseResource
from pushd.transports.tcp_lines import LineFactory, LineLimits
from pushd.transports.websocket import WebSocket, WebSocketResource
from pushd.wire.line_commands import CommandLimits
from pushd.wire.nul_lines import NulLines
from tests.transports.in_memory import Transport as InMemoryTransport

PROXY = IPv4Address("TCP", "192.0.2.1", 1)
"""The peer of all HTTP connections, which forwards `CLIENT`."""
CLIENT = "198.51.100.1"


class ServerTransport(InMemoryTransport):
    """A transport that ignores, as sockets do, that no producer is registered."""

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""
        self.producer = None


class Backend(MemoryBackend):
    """A memory backend whose answers can be delayed."""

    opening: Deferred[None] | None = None
    """`open` waits for it, and fails with its failure."""
    reading: Deferred[None] | None = None
    """`page` waits for it."""
    readers = 0
    """The number of calls of `page` that have waited."""

    async def open(self, topics: Sequence[str], since: Since) -> StartPosition:
        """See `pushd.backends.interface.Backend`."""
        if self.opening is not None:
            await self.opening
        return await super().open(topics, since)

    async def page(
        self, topics: Sequence[str], after: MessageId, count: int, size: int, latest_until: MessageId | None = None
    ) -> Page:
        """See `pushd.backends.interface.Backend`."""
        if self.reading is not None:
            self.readers += 1
            await self.reading
        return await super().page(topics, after, count, size, latest_until)


class InMemoryServer:
    """A server with all transports that keep connections."""

    def __init__(self, queue_messages: int = 2, authenticator: Authenticator = NO_AUTHENTICATION) -> None:
        self.clock = Clock()
        self.counters = Counters()
        self.backend = Backend(Bounds(), self.clock, self.clock.seconds, "E")
        self.hub = Hub(self.backend, self.clock, self.counters, wall=self.clock.seconds)
        self.admission = Admission(10_000, 10_000)
        queue = QueueLimits(queue_messages, 1 << 20, budget=self.hub.budget)
        limits = HttpLimits(queue=queue)
        proxies = (ipaddress.ip_network(PROXY.host),)
        self.context = HttpContext(
            limits,
            self.counters,
            self.admission,
            proxies=proxies,
            access=AccessLog(1.0),
            authenticator=authenticator,
        )
        self.ticks = Ticks(self.clock)
        self.wheel = Wheel(self.ticks, 5)
        self.pongs: Deadlines[WebSocket] = Deadlines(self.clock, 5, WebSocket.overdue)
        self.messages: Deadlines[WebSocket] = Deadlines(self.clock, limits.upload, WebSocket.message_timed_out)
        self.credentials = CredentialDeadlines(self.clock, limits.handshake, self.hub)
        self.ticks.start()
        self.pongs.start()
        self.messages.start()
        self.credentials.start()
        held_requests = HeldRequests(self.context, self.hub, self.clock)
        streams = self.context, self.hub, self.clock, self.wheel
        children: dict[bytes, Any] = {
            b"sse": SseResource(*streams),
            b"stream": NdjsonResource(*streams),
            b"multipart": ReplaceResource(*streams),
            b"mixed": MixedResource(*streams),
            b"ws": WebSocketResource(*streams, self.pongs, self.messages, self.credentials),
            b"longpoll": LongPollResource(self.context, held_requests),
            b"pull": PullResource(self.context, self.hub, held_requests),
            b"pub": PublishResource(self.context, self.hub),
            b"request": RequestResource(self.context, self.hub),
        }
        negotiating = NegotiatingResource(
            self.context, {"text/event-stream": children[b"sse"]}, children[b"ws"], children[b"longpoll"]
        )
        context = DialectContext(
            self.context, self.hub, cast(Any, self.clock), self.wheel, self.wheel, "", lambda peer: None, NulLines()
        )
        limits_of_sessions = Limits(100, 100, 60.0)
        dialects = Pushlet(context, limits_of_sessions), Comet4j(context, limits_of_sessions, ())
        for dialect in dialects:
            children |= dialect.routes
        root = Resource()
        root.putChild(b"sub", negotiating)
        for name, child in children.items():
            root.putChild(name, child)
        self._site = PushSite(
            root,
            self.clock,
            limits,
            self.admission,
            self.counters,
            self.context.is_proxy,
            access=self.context.access,
            client_of=self.context.client_of,
        )
        commands = CommandLimits(limits.message, limits.event, limits.topics)
        self._lines = LineFactory(
            self.hub,
            self.clock,
            LineLimits(commands, queue),
            self.admission,
            self.counters,
            "1.0",
            self.credentials,
            authenticator,
        )
        self.transports: list[Transport] = [held_requests, self._lines]
        self.transports += [child for child in children.values() if hasattr(child, "close_all")]
        self.transports += [transport for dialect in dialects for transport in dialect.transports]

    async def start(self) -> "InMemoryServer":
        """Start the hub."""
        await self.hub.start()
        return self

    def connect(self, *, is_http: bool) -> ServerTransport:
        """Accept a connection, and return its transport."""
        transport = ServerTransport()
        transport.protocol = (self._site if is_http else self._lines).buildProtocol(PROXY)
        protocol: Any = transport.protocol
        protocol.makeConnection(transport)
        return transport

    async def publish(self, channel: str, *texts: str, end: bool = False) -> None:
        """Publish messages, each in a reactor turn of its own."""
        for text in texts:
            await self.hub.publish(DAEMON, draft(channel, text.encode(), end=end))
            self.clock.advance(0)

    def stop(self) -> None:
        """Cancel what Autobahn has left on the reactor: its timers are not those of the clock."""
        from twisted.internet import reactor

        for call in reactor.getDelayedCalls():
            if cast(DelayedCall, call).func.__name__ == "_notify_bucket":
                call.cancel()

    def lose(self, transport: ServerTransport) -> None:
        """Lose a connection, as after a FIN of the client or after `loseConnection`."""
        protocol: Any = transport.protocol
        protocol.connectionLost(Failure(ConnectionDone()))


def request(path: str, **headers: str) -> bytes:
    """Encode a request of `CLIENT`, forwarded by the proxy."""
    fields = {"Host": "localhost", "X-Forwarded-For": CLIENT}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode()


HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
