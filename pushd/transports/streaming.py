"""Endless answers: what server-sent events and the other streams share.

The headers go out through Twisted's request; from then on blocks that are made once for all streams are written
straight to the transport. The request stays to say when the client is gone and to end the answer.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Request

from pushd.core.cursor import Since
from pushd.core.delivery import Wire
from pushd.core.errors import Refusal, TooManyConnections
from pushd.core.names import parse_topics
from pushd.core.outbox import Limits, Policy
from pushd.core.replay import Opening
from pushd.core.subscriber import Subscriber
from pushd.hub import Hub
from pushd.net.admission import Slot
from pushd.net.keepalive import Wheel
from pushd.net.sockets import close_within
from pushd.transports.http import Answer, Door, Rules
from pushd.transports.pacing import Paced
from pushd.transports.query import name_in_path, policy_of, since_of
from pushd.wire.chunked import Chunked

_CLOSE_SECONDS = 5.0
"""How long a stream that is given up may take to send what it has."""


class Format:
    """One shape of a stream: its headers, its first bytes, and its wire with and without the chunked coding."""

    def __init__(self, content_type: bytes, wire: Wire, preamble: bytes = b"") -> None:
        self.content_type = content_type
        self.plain = wire
        self.chunked: Wire = Chunked(wire)
        self.preamble = preamble


class HttpStream(Paced):
    """An open answer, and the outlet of its subscriber."""

    __slots__ = ("_clock", "_hub", "_request", "_slot", "_transport", "_wheel", "spoke", "subscriber")

    log = Logger()

    def __init__(self, door: "StreamDoor", request: Request, slot: Slot) -> None:
        self.spoke = 0
        self.subscriber: Subscriber
        self._hub = door.hub
        self._wheel = door.wheel
        self._clock = door.clock
        self._request = request
        self._slot = slot
        self._transport: Any = request.channel.transport

    def begin(self) -> None:
        """Send the headers and what comes before the first message, and take care of the connection."""
        self._request.write(b"")
        self._request.registerProducer(self, True)
        self._wheel.add(self)

    def write(self, data: bytes) -> None:
        """Send a block."""
        self.spoke = self._wheel.hour
        self._transport.write(data)

    def ping(self) -> None:
        """Send a sign of life, unless the peer has enough to read."""
        wire, newest = self.subscriber.wire, self.subscriber.newest
        if self.subscriber.is_busy:
            return
        if data := wire.block([wire.ping() or (newest.frame(wire) if newest is not None else b"")]):
            self._transport.write(data)

    def ended(self, channel: str) -> None:
        """End the answer with its last channel."""
        self._hub.part(self.subscriber, (channel,))
        if not self.subscriber.starts:
            wire = self.subscriber.wire
            if closing := wire.block([wire.last()]):
                self._transport.write(closing)
            self.finish()

    def give_up(self, why: Refusal) -> None:
        """End the answer: the client comes back with its cursor."""
        if not self._request._disconnected and not self._request.finished:
            self._request.channel.persistent = 0
            self.finish()
            close_within(self._transport, self._clock, _CLOSE_SECONDS)

    def finish(self) -> None:
        """End the answer in good order; `lost` follows."""
        if not self._request._disconnected and not self._request.finished:
            self._request.unregisterProducer()
            self._request.finish()

    def lost(self, _: object = None) -> None:
        """Give everything back."""
        self._wheel.remove(self)
        self._hub.leave(self.subscriber)
        self._slot.release()


class StreamDoor(Door):
    """An address under which topics stream."""

    transport_name = "stream"

    def __init__(self, rules: Rules, hub: Hub, clock: IReactorTime, wheel: Wheel) -> None:
        super().__init__(rules)
        self.hub = hub
        self.clock = clock
        self.wheel = wheel
        self._streams: dict[HttpStream, None] = {}

    def methods(self) -> Mapping[bytes, Callable[[Request], Awaitable[Answer]]]:
        """See `Door`."""
        return {b"GET": self.get}

    def since_of(self, request: Request) -> Since:
        """Give the place where a stream begins."""
        return since_of(request)

    def policy_of(self, request: Request) -> Policy:
        """Give the policy for a slow reader."""
        return policy_of(request)

    def limits(self) -> Limits:
        """Give the limits of a reader's queue."""
        return self.rules.limits.queue

    def prepare(self, transport: Any) -> None:
        """Set up the connection of a stream that is about to begin."""

    def format_of(self, request: Request) -> Format:
        """Choose the shape of the stream.

        :raises BadParameter: the request asks for one that is not there.
        """
        raise NotImplementedError

    async def head(self, request: Request) -> Answer:
        """Answer with the headers, or refuse as GET would; nothing is subscribed."""
        parse_topics(name_in_path(request), self.rules.limits.topics)
        self.since_of(request)
        self.policy_of(request)
        self.set_headers(request, self.format_of(request))
        request.write(b"")
        request.finish()
        return None

    def come_back(self, request: Request, refusal: Refusal) -> bytes:
        """Answer a client for which there is no room now.

        :raises Refusal: which is the answer, unless a technique has a better one.
        """
        raise refusal

    def close_all(self, why: Refusal) -> None:
        """End all streams."""
        for stream in list(self._streams):
            stream.give_up(why)

    async def get(self, request: Request) -> Answer:
        """Open a stream."""
        topics = parse_topics(name_in_path(request), self.rules.limits.topics)
        since, policy, shape = self.since_of(request), self.policy_of(request), self.format_of(request)
        is_chunked = request.clientproto == b"HTTP/1.1"
        name = f"{self.transport_name} {self.rules.client_of(request)}"
        try:
            slot = self.rules.admit_stream(request)
        except TooManyConnections as refusal:
            return self.come_back(request, refusal)
        stream = HttpStream(self, request, slot)
        wire = shape.chunked if is_chunked else shape.plain
        stream.subscriber = Subscriber(stream, wire, self.limits(), policy, name)
        self._streams[stream] = None
        self.rules.counters.connections[self.transport_name] += 1
        request.notifyFinish().addBoth(self._gone, stream)
        opening = await self.hub.subscribe(stream.subscriber, topics, since)
        if request._disconnected:
            return None
        if opening.finished:
            request.setResponseCode(204)
            return b""
        self.set_headers(request, shape, opening)
        self.prepare(request.channel.transport)
        stream.begin()
        if shape.preamble:
            stream.write(wire.block([shape.preamble]))
        await self.hub.follow(stream.subscriber, opening, tell_gaps=not wire.bare)
        return None

    def set_headers(self, request: Request, shape: Format, opening: Opening | None = None) -> None:
        """Set the headers of the answer, be it to GET or to HEAD."""
        request.setHeader(b"Content-Type", shape.content_type)
        request.setHeader(b"Cache-Control", b"no-cache, no-transform")
        request.setHeader(b"X-Accel-Buffering", b"no")
        if shape.plain.bare and opening is not None and opening.gaps:
            request.setHeader(b"Pushd-Gap", opening.gaps[0].reason.encode("ascii"))

    def _gone(self, result: object, stream: HttpStream) -> None:
        del self._streams[stream]
        self.rules.counters.connections[self.transport_name] -= 1
        stream.lost()
        if isinstance(result, Failure):
            result.trap(Exception)
