"""Requests and replies: a request is published with a channel for its reply, and its asker receives the first reply.

A request is open at the node of its asker, and only there: that node decides which reply is the first one. Its token
ends with the name of the node, so that every node finds it. Nothing is stored.
"""

import secrets
from collections.abc import Callable, Generator, Hashable, Iterable
from typing import Final

from msgspec import structs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from pushd.backends.interface import Backend
from pushd.core.dispatcher import Dispatcher
from pushd.core.errors import BadParameter, NoRequest, NoResponders, Refusal, Stopping
from pushd.core.message import Draft
from pushd.core.names import REPLY
from pushd.core.open_requests import HERE, AskerLeft, OpenRequest, OpenRequests, check_timeout, is_token
from pushd.core.peer import Peer
from pushd.core.register import Register
from pushd.core.subscriber import Subscriber
from pushd.hub.authorization import check_credential, check_topics
from pushd.hub.departures import Departures
from pushd.hub.publishing import Publisher, Receipt
from pushd.hub.responders import Responders
from pushd.metrics import Counters
from pushd.net.coarse_timers import CoarseTimers
from pushd.net.turn_slices import Slices

_RANDOM_BYTES: Final = 16
_NO_REQUEST: Final = "no request waits for this reply: it was answered before, has timed out, or its asker has left"


class Requests:
    """The open requests of this node, and the replies to those of all nodes."""

    log = Logger()

    def __init__(
        self,
        backend: Backend,
        publisher: Publisher,
        dispatcher: Dispatcher,
        register: Register,
        clock: IReactorTime,
        counters: Counters,
        turns: Slices,
    ) -> None:
        self._backend = backend
        self._publisher = publisher
        self._responders = Responders(dispatcher)
        self._register = register
        self._counters = counters
        self._turns = turns
        self._timers = CoarseTimers(clock)
        self._open = OpenRequests()
        self.departures = Departures(backend, self._open, self._responders, clock, turns, self._refuse)
        """What follows when responders leave."""
        self._stopping: Stopping | None = None
        self._numbers: dict[Subscriber, int] = {}
        """How many requests the connections that have sent some have sent."""

    # Requests

    async def ask(self, peer: Peer, draft: Draft, seconds: float, asker: Hashable) -> Deferred[Draft]:
        """Publish a request; return when it is published. The result fires with its first reply.

        It fails with `NoReply`, `Stopping`, or `AskerLeft` when `forget` was called.

        :param seconds: how long to wait for the reply.
        :param asker: who waits: a subscriber, or any object of which there is one for each connection.
        :raises NotGranted: when the peer may not publish to the channel.
        :raises NoResponders: when nobody could answer.
        :raises Refusal: when it cannot be published, or too many requests are open.
        """
        self._publisher.check_grant(peer, draft.channel)
        check_timeout(seconds)
        if self._stopping is not None:
            raise self._stopping.without_traceback()
        reply: Deferred[Draft] = Deferred()
        request = self._add(peer, draft.channel, asker, seconds, reply)
        try:
            admitted = self._publisher.admit(peer, draft)
            await self._publisher.callbacks.check_publish(peer, (draft.channel,))
            await self._find_responders(request, seconds)
            if request in self._open:
                reply_to = REPLY + request.token
                await self._publisher.publish_admitted(peer, structs.replace(admitted, keep=False, reply_to=reply_to))
        except BaseException as cause:
            if self._remove(request):
                self._counters.requests[cause.code if isinstance(cause, Refusal) else "error"] += 1
            reply.addErrback(lambda _: None)  # its failure, if any, is not newer than this one
            raise
        return reply

    def number(self, subscriber: Subscriber) -> int:
        """Return how many requests a connection has sent, with the one that it sends now."""
        number = self._numbers[subscriber] = self._numbers.get(subscriber, 0) + 1
        return number

    def has_open(self, asker: Hashable) -> bool:
        """Return whether an asker waits for a reply."""
        return bool(self._open.of_asker(asker))

    def forget(self, asker: Hashable) -> None:
        """Called when an asker has disconnected: its requests are not open any more."""
        for request in self._open.of_asker(asker):
            self._end(request, AskerLeft("the asker has disconnected"), "left")

    async def renew(self, renew: Callable[[Peer], None]) -> None:
        """Renew the grants of askers that are no connections of the hub, after a reload or a revocation.

        Open requests that are not granted any more are refused.

        :param renew: sets the grant of a peer, or raises a refusal.
        """
        await self._turns.run(self._renewals(self._open.all, renew))

    def _renewals(self, requests: Iterable[OpenRequest], renew: Callable[[Peer], None]) -> Generator[None, None, None]:
        for request in requests:
            peer = request.peer
            try:
                if not (peer.number or peer.grant.is_full):
                    renew(peer)
                self._publisher.check_grant(peer, request.channel)
            except Refusal as refusal:
                self._refuse(request, refusal)
            yield

    def stop(self, why: Stopping) -> None:
        """Refuse all requests, those that are open too."""
        self._stopping = why
        for request in self._open.all:
            self._refuse(request, why)

    # Replies

    async def reply(self, peer: Peer, draft: Draft) -> Receipt:
        """Deliver a reply; the caller has counted it in the rates of its publisher.

        :raises NoRequest: when no request waits for it.
        :raises NotGranted: when the peer may not reply on the channel of the request.
        :raises Unavailable: when the node of the asker cannot be asked.
        """
        await self.channel_of(peer, draft.channel)
        if draft.end or draft.ttl is not None:
            raise BadParameter("a reply must not have ttl or end: it is not kept")
        token = draft.channel.removeprefix(REPLY)
        if not (self.on_reply(token, draft) or await self._backend.reply(token, draft)):
            raise NoRequest(_NO_REQUEST)
        return Receipt("", draft.channel, 1)

    async def channel_of(self, peer: Peer, reply_to: str) -> str:
        """Return the channel of the request to which a reply belongs.

        :raises NoRequest: when no request waits for it.
        :raises NotGranted: when the peer may not reply on that channel.
        :raises Unavailable: when the node of the asker cannot be asked.
        """
        check_credential(peer, "action reply")
        token = reply_to.removeprefix(REPLY)
        channel = None
        if is_token(token):
            channel = self.request_channel(token) or await self._backend.request_channel(token)
        if channel is None:
            raise NoRequest(_NO_REQUEST)
        check_topics(peer, "reply", (channel,))
        return channel

    # Responders

    def check_responder(self, peer: Peer, topics: Iterable[str]) -> None:
        """Check that a peer may be a responder of topics.

        :raises NotGranted: when it may not reply on one of them.
        """
        check_topics(peer, "reply", topics)

    def add_responder(self, subscriber: Subscriber) -> None:
        """Let a subscriber that is open count as a responder for all its topics, patterns too."""
        self._responders.add(subscriber)

    def remove(self, subscriber: Subscriber) -> None:
        """Called when a subscriber is removed, after `Departures.topics_left`."""
        self._responders.discard(subscriber)
        self._numbers.pop(subscriber, None)
        self.forget(subscriber)

    # From the backend: see `RequestListener`

    def on_seek(self, node: str, channel: str, seconds: float) -> float | None:
        """Return the mark of this node for a request of another node, to which it reports responders that leave."""
        mark = self._mark(channel)
        if mark is not None:
            self.departures.watch(channel, node, seconds)
        return mark

    def on_responders_left(self, node: str, channel: str, oldest: float) -> None:
        """Called with the number of the oldest responder that another node still has; infinite if it has none."""
        self.departures.lose(self._open.leave(node, channel, oldest))

    def on_node_lost(self, node: str) -> None:
        """Called when another node is gone."""
        self.departures.lose(self._open.leave_all(node))

    def answering_nodes(self) -> set[str]:
        """Return the other nodes whose responders may answer open requests."""
        return self._open.nodes()

    def request_channel(self, token: str) -> str | None:
        """Return the channel of an open request of this node; None if there is none."""
        request = self._open.find(token)
        return None if request is None else request.channel

    def on_reply(self, token: str, reply: Draft) -> bool:
        """Answer a request of this node; return whether it was open."""
        request = self._open.find(token)
        if request is None:
            return False
        self._end(request, reply, "replied")
        return True

    # The life of a request

    def _add(self, peer: Peer, channel: str, asker: Hashable, seconds: float, reply: Deferred[Draft]) -> OpenRequest:
        """Return a new open request.

        :raises TooManyRequests: when there are too many.
        """

        def end(outcome: Draft | Exception) -> None:
            if isinstance(outcome, Exception):
                reply.errback(outcome)
            else:
                reply.callback(outcome)

        def time_out(request: OpenRequest) -> None:
            self.departures.time_out(request, seconds)

        token = secrets.token_hex(_RANDOM_BYTES) + self._backend.node
        request = OpenRequest(token, channel, peer, asker, end, time_out)
        self._open.add(request)
        self._timers.start(request, seconds)
        self._counters.open_requests = len(self._open)
        return request

    def _remove(self, request: OpenRequest) -> bool:
        """Remove a request; return whether it was open."""
        self._timers.cancel(request)
        was_open = self._open.remove(request)
        self._counters.open_requests = len(self._open)
        return was_open

    def _end(self, request: OpenRequest, outcome: Draft | Exception, label: str) -> None:
        if self._remove(request):
            self._counters.requests[label] += 1
            request.on_end(outcome)

    def _refuse(self, request: OpenRequest, refusal: Refusal) -> None:
        self._end(request, refusal.without_traceback(), refusal.code)

    # Who can answer

    def _mark(self, channel: str) -> float | None:
        return self._responders.mark(channel, self._register.newest)

    async def _find_responders(self, request: OpenRequest, seconds: float) -> None:
        """Return when a responder is found; other nodes are asked on.

        :raises NoResponders: when there is none at any node.
        :raises Unavailable: when the other nodes cannot be asked.
        """
        found: Deferred[None] = Deferred()

        def on_found(node: str, mark: float) -> None:
            request.nodes[node] = mark
            if not found.called:
                found.callback(None)

        def on_end(failure: Failure | None) -> None:
            request.is_announced = True
            if not found.called:
                found.callback(failure)
                return
            if failure is not None and not failure.check(Refusal):
                self.log.failure("Other nodes could not be asked for responders", failure)
            if request in self._open and request.has_no_responders:
                self.departures.lose([request])

        mark = self._mark(request.channel)
        if mark is not None:
            on_found(HERE, mark)
        Deferred.fromCoroutine(self._backend.seek_responders(request.channel, seconds, on_found)).addBoth(on_end)
        await found
        if not request.nodes:
            raise NoResponders("no subscriber of the channel can answer")
